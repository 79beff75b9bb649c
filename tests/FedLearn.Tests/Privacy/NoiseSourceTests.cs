using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Loader;
using System.Security.Cryptography;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

public partial class NoiseSourceTests
{
    [Fact]
    public void TestNoise_Seed_GivesTheSameOnEveryMachine()
    {
        var draws = new int[5];
        new TestNoise(7, "insurer").Fill(draws);
        // From an independent implementation with 50-digit arithmetic.
        Assert.Equal([-19632342, 22463560, 486606, 36080212, 11247466], draws);

        // The digest of a million draws by RoundedNormal.Exact alone.
        draws = new int[1_000_000];
        new TestNoise(7, "insurer").Fill(draws);
        Assert.True(BitConverter.IsLittleEndian);
        Assert.Equal("45239898350ac5b0e713779e9729dd4c1b936233323d90a01ab3c4f95e78fb63", Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes(draws.AsSpan()))));
    }

    [Fact]
    public void TestNoise_TwoFills_EqualOne()
    {
        int[] once = new int[5000], twice = new int[5000];
        new TestNoise(7, "insurer").Fill(once);
        var source = new TestNoise(7, "insurer");
        source.Fill(twice.AsSpan(0, 1234));
        source.Fill(twice.AsSpan(1234));
        Assert.Equal(once, twice);
        Assert.False(source.IsSecure);
    }

    [Fact]
    public void TestNoise_OtherSeedOrStream_IsUnrelated()
    {
        int[] a = new int[1000], b = new int[1000], c = new int[1000];
        new TestNoise(7, "insurer").Fill(a);
        new TestNoise(8, "insurer").Fill(b);
        new TestNoise(7, "clinic").Fill(c);
        Assert.Empty(a.Intersect(b));
        Assert.Empty(a.Intersect(c));
    }

    // O5: however a message is cut, every draw has the bits of its number, those of the exact path included.
    [Fact]
    public void TestNoise_AnyBlocks_GiveTheSameDraws()
    {
        var random = new Random(20090276);
        int[] once = new int[3_000_000], blocks = new int[3_000_000];
        new TestNoise(9, "clinic").Fill(once);
        var source = new TestNoise(9, "clinic");
        for (int at = 0, length; at < blocks.Length; at += length)
        {
            length = Math.Min(random.Next(0, 5_000), blocks.Length - at);
            source.Fill(blocks.AsSpan(at, length));
        }

        Assert.Equal(once, blocks);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void CsprngNoise_AnyLength_FillsAllOfIt(bool aes)
    {
        Assert.SkipUnless(KeyStream.HasAes || !aes, "this processor has no AES instructions");
        var source = new CsprngNoise(aes);
        foreach (int length in new[] { 0, 1, 7, 31, 32, 33, 511, 512, 513, 5000 })
        {
            // Beyond the span nothing is touched; within it a draw is 0 with probability 2.4e-8: two of them in a row never are.
            var draws = new int[length + 64];
            source.Fill(draws.AsSpan(0, length));
            Assert.All(draws[length..], draw => Assert.Equal(0, draw));
            for (int i = 1; i < length; i++)
                Assert.False(draws[i] == 0 && draws[i - 1] == 0);
        }
    }

    [Fact]
    public void IsSecure_Sources_SayWhatTheyAre()
    {
        Assert.True(new CsprngNoise().IsSecure);
        Assert.False(new TestNoise(1, "a").IsSecure);
    }

    // The widths of vectors and the instructions of AES may change the speed alone. A child process without them must make the same draws, and pack them alike.
    [Theory]
    [InlineData("DOTNET_EnableAVX512", "DOTNET_EnableAVX512F")]
    [InlineData("DOTNET_EnableAVX2", "DOTNET_EnableAVX512")]
    [InlineData("DOTNET_EnableHWIntrinsic", "DOTNET_EnableAES")]
    public void TestNoise_WithoutInstructions_GivesTheSameDrawsAndBytes(string first, string second)
    {
        // This process again: its own executable, or that of the runtime with the assembly.
        string program = Environment.ProcessPath!;
        string[] assembly = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [typeof(NoiseSourceTests).Assembly.Location] : [];
        string[] tests = [$"*{nameof(TestNoise_Seed_GivesTheSameOnEveryMachine)}", $"*{nameof(CsprngNoise_AnyLength_FillsAllOfIt)}*", $"*{nameof(KeyStreamTests)}*", $"*{nameof(LatticeVectorTests)}*"];
        var start = new ProcessStartInfo(program, [.. assembly, "-noLogo", .. tests.SelectMany(test => new[] { "-method", test })])
        {
            RedirectStandardOutput = true,
            Environment = { [first] = "0", [second] = "0" },
        };
        using Process child = Process.Start(start)!;
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        Assert.True(child.ExitCode == 0, output);
        Assert.Matches("Total: [1-9]", output);
    }

    // Numbers that are rounded up as the sampler makes its table are those of a processor that does not compute as the standard says.
    [Fact]
    public void CsprngNoise_ProcessorThatRoundsOtherwise_DrawsNothing()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64, "The rounding is set as Linux on x64 does.");
        const int Nearest = 0, Up = 0x800;
        Refused("FL6302", "not the one its bound was proved for", File.ReadAllBytes(typeof(CsprngNoise).Assembly.Location), draw =>
        {
            Assert.Equal(0, SetRounding(Up));
            try
            {
                draw();
            }
            finally
            {
                _ = SetRounding(Nearest);
            }
        });
    }

    // A bit of ChaCha20's constant, "expand 32-byte k": the program's own check is what notices.
    [Fact]
    public void CsprngNoise_GeneratorThatIsDamaged_DrawsNothing()
    {
        byte[] program = File.ReadAllBytes(typeof(CsprngNoise).Assembly.Location);
        int at = program.AsSpan().IndexOf("expa"u8);
        Assert.True(at > 0);
        program[at] ^= 1;
        Refused("FL6303", "fails its known answers", program, draw => draw());
    }

    /// <summary>Loads the library of privacy once more, and draws.</summary>
    private static void Refused(string id, string cause, byte[] program, Action<Action> within)
    {
        var apart = new AssemblyLoadContext(id, isCollectible: true);
        object source = Activator.CreateInstance(apart.LoadFromStream(new MemoryStream(program)).GetType(typeof(CsprngNoise).FullName!)!)!;
        var fill = source.GetType().GetMethod(nameof(CsprngNoise.Fill))!.CreateDelegate<Filling>(source);
        Exception? error = null;
        int[] noise = new int[100];
        // A thread of its own, since rounding is a thread's.
        var thread = new Thread(() => error = Record.Exception(() => within(() => fill(noise))));
        thread.Start();
        thread.Join();
        Assert.Equal(typeof(InternalFailureException).FullName, error?.GetType().FullName);
        Assert.Contains(cause, error!.Message, StringComparison.Ordinal);
        Assert.Contains("use another machine", error.Message, StringComparison.OrdinalIgnoreCase);
        Assert.EndsWith($"({id})", error.Message, StringComparison.Ordinal);
        Assert.All(noise, value => Assert.Equal(0, value));
        apart.Unload();
    }

    private delegate void Filling(Span<int> destination);

    [LibraryImport("libm.so.6", EntryPoint = "fesetround")]
    private static partial int SetRounding(int mode);
}
