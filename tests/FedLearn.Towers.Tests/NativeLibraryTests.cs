using System.Diagnostics;
using System.Runtime.InteropServices;
using FedLearn.Towers.LibTorch.Native;

namespace FedLearn.Towers.Tests;

public sealed class NativeLibraryTests
{
    [Fact]
    public void Create_WithoutTheLibrary_SaysHowToGetIt()
    {
        string[] lines = Child("create", ("FEDLEARN_NATIVE", Path.Combine(Path.GetTempPath(), "fedlearn-no-such-folder")));
        Assert.Equal("available: False", lines[0]);
        foreach (string line in lines[1..])
        {
            Assert.StartsWith("6 ", line, StringComparison.Ordinal);
            Assert.Contains("eng/setup.sh towers", line, StringComparison.Ordinal);
            Assert.EndsWith("(FL6130)", line, StringComparison.Ordinal);
        }

        Assert.Equal(3, lines.Length);
    }

    [Fact]
    public void Create_WithALibraryThatIsNone_SaysThatItCannotBeLoaded()
    {
        string folder = Directory.CreateTempSubdirectory("fedlearn-").FullName;
        try
        {
            foreach (string name in new[] { "libfedlearn_towers.so", "libfedlearn_towers.dylib", "fedlearn_towers.dll" })
                File.WriteAllText(Path.Combine(folder, name), "no library");
            Assert.All(Child("create", ("FEDLEARN_NATIVE", folder))[1..], line =>
            {
                Assert.Contains("cannot be loaded", line, StringComparison.Ordinal);
                Assert.EndsWith("(FL6130)", line, StringComparison.Ordinal);
            });
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Create_WithALibraryOfAnotherVersion_SaysHowToGetTheRightOne()
    {
        string folder = Directory.CreateTempSubdirectory("fedlearn-").FullName;
        try
        {
            // A library of the runtime loads, and has no version of ours.
            (string library, string name) = OperatingSystem.IsWindows() ? ("clrjit.dll", "fedlearn_towers.dll")
                : OperatingSystem.IsMacOS() ? ("libSystem.Native.dylib", "libfedlearn_towers.dylib") : ("libSystem.Native.so", "libfedlearn_towers.so");
            File.Copy(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), library), Path.Combine(folder, name));
            string[] lines = Child("create", ("FEDLEARN_NATIVE", folder));
            Assert.Equal(["available: False"], lines[..1]);
            Assert.Equal(3, lines.Length);
            Assert.All(lines[1..], line =>
            {
                Assert.StartsWith("6 ", line, StringComparison.Ordinal);
                Assert.Contains($"{Path.Combine(folder, name)} is of another version", line, StringComparison.Ordinal);
                Assert.Contains("eng/setup.sh towers", line, StringComparison.Ordinal);
                Assert.EndsWith("(FL6131)", line, StringComparison.Ordinal);
            });
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Theory]
    [InlineData("base")]
    [InlineData("avx2")]
    public void LibTorchTowers_OtherInstructions_Conform(string instructions)
    {
        Native.Require();
        Assert.Equal(["conforms"], Child("conform", ("FEDLEARN_INSTRUCTIONS", instructions)));
    }

    [Fact]
    public void Folders_Configured_AreThatOneOnly() => Assert.Equal(["/opt/native"], NativeLoader.Folders("/opt/native", AppContext.BaseDirectory, null));

    [Fact]
    public void Folders_InACheckout_EndWithItsBuildOutput()
    {
        string[] folders = [.. NativeLoader.Folders(null, AppContext.BaseDirectory, "/elsewhere/")];
        Assert.StartsWith(AppContext.BaseDirectory, folders[0], StringComparison.Ordinal);
        Assert.Contains("runtimes", folders[0], StringComparison.Ordinal);
        Assert.Contains("/elsewhere/", folders);
        Assert.EndsWith(Path.Combine("build", "native"), folders[^1], StringComparison.Ordinal);
    }

    private static string[] Child(string what, params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(Program).Assembly.Location, "child", what]) { RedirectStandardOutput = true };
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return output.Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries);
    }
}
