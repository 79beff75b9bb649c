using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace FedLearn.Alignment.Tests.Ristretto;

/// <summary>What is said where the processor or libsodium are not what they should be: in processes of their own, since a process looks once.</summary>
public sealed class EngineTests
{
    private static readonly string[] Names = ["libsodium.so.23", "libsodium.so.26", "libsodium.so", "libsodium"];

    /// <summary>Machine code of x64 functions that give 0 and -1.</summary>
    private static readonly byte[] GivesZero = [0x31, 0xC0, 0xC3], GivesMinusOne = [0xB8, 0xFF, 0xFF, 0xFF, 0xFF, 0xC3];

    [Fact]
    public void Create_ProcessorWithoutInstructions_RefusesTheVectorEngineAndFastestIsLibsodium()
    {
        SodiumReference.Require();
        (string, string)[] old = [("DOTNET_EnableAVX2", "0"), ("DOTNET_EnableAVX512", "0"), ("DOTNET_EnableAVX512F", "0")];
        Refused(2, "FL2521", "Use the fastest engine", Child(["engine", "Vector"], old));
        Assert.Equal((0, "libsodium"), Child(["engine", "Fastest"], old));
    }

    [Theory]
    [InlineData("engine", "Fastest")]
    [InlineData("engine", "Sodium")]
    public void Create_NoLibsodium_SaysHowToInstallIt(params string[] what)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Libraries are found otherwise there.");
        WithLibrary("no library"u8.ToArray(), search => Refused(6, "FL6160", "eng/setup.sh psi", Child(what, search)));
    }

    // The first power of the generator is not the generator: whatever else it computes must not touch an id.
    [Fact]
    public void Create_LibsodiumThatComputesWrongly_IsNotUsed() =>
        WithLibrary(Damaged("crypto_scalarmult_ristretto255_base", GivesZero), search => Refused(6, "FL6161", "Reinstall libsodium", Child(["engine", "Fastest"], search)));

    [Fact]
    public void FromSeed_LibsodiumThatFails_IsSaid() =>
        WithLibrary(Damaged("sodium_init", GivesMinusOne), search => Refused(6, "FL6145", "Reinstall libsodium", Child(["key"], search)));

    private static void Refused(int exitCode, string id, string remedy, (int ExitCode, string Output) said)
    {
        Assert.True(said.ExitCode == exitCode, said.Output);
        Assert.Contains(remedy, said.Output, StringComparison.Ordinal);
        Assert.EndsWith($"({id})", said.Output, StringComparison.Ordinal);
    }

    /// <summary>Runs something with another libsodium before that of the system.</summary>
    private static void WithLibrary(byte[] library, Action<(string, string)[]> use)
    {
        string folder = Directory.CreateTempSubdirectory("fedlearn-").FullName;
        try
        {
            foreach (string name in Names)
                File.WriteAllBytes(Path.Combine(folder, name), library);
            use([("LD_LIBRARY_PATH", folder)]);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>The system's libsodium with the code of one function replaced.</summary>
    private static byte[] Damaged(string function, byte[] code)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64, "The code is that of Linux on x64.");
        SodiumReference.Require();
        nint handle = NativeLibrary.Load("libsodium.so.23");
        long address = NativeLibrary.GetExport(handle, function);
        // start-end permissions offset device inode path
        foreach (string line in File.ReadLines("/proc/self/maps"))
        {
            string[] parts = line.Split(' ', StringSplitOptions.RemoveEmptyEntries), range = parts[0].Split('-');
            long Hex(string text) => long.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            if (address < Hex(range[0]) || address >= Hex(range[1]))
                continue;
            byte[] library = File.ReadAllBytes(parts[5]);
            code.CopyTo(library, address - Hex(range[0]) + Hex(parts[2]));
            return library;
        }

        throw new InvalidOperationException($"{function} is in no file.");
    }

    private static (int ExitCode, string Output) Child(string[] what, (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(Program).Assembly.Location, "child", .. what]) { RedirectStandardOutput = true };
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd().Trim();
        process.WaitForExit();
        return (process.ExitCode, output);
    }
}
