using System.Text;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>The fuzzer finds what is wrong with a reader that is broken on purpose, and says how to see it again.</summary>
public sealed class FuzzEngineReliabilityTests
{
    [Fact]
    public void Run_Crash_IsReportedWithItsInput()
    {
        using var target = new BrokenTarget(input => input.Contains((byte)'!') ? throw new InvalidCastException("broken") : 0);
        FuzzFailedException failure = Assert.Throws<FuzzFailedException>(() => FuzzEngine.Run(target, 5, 10_000));
        Assert.IsType<InvalidCastException>(failure.InnerException);
        Assert.False(Directory.Exists(target.Folder));
        (long number, byte[] input) = Reproduced(target, failure);
        Assert.Contains((byte)'!', input);
        Assert.Equal(input, target.Make(FuzzRandom.Of(5, target.Name, number)));      // the same case again
        Assert.Throws<FuzzCrashException>(() => target.Run(input, ""));
    }

    [Fact]
    public void Run_RefusalWithoutAnId_IsACrash()
    {
        using var target = new BrokenTarget(input => input.Contains((byte)'!') ? throw new RpcException(StatusCode.Unimplemented, "no id") : 0);
        Assert.Throws<FuzzFailedException>(() => FuzzEngine.Run(target, 5, 10_000));
    }

    [Fact]
    public void Run_Hang_IsReportedWithItsInput()
    {
        using var target = new BrokenTarget(null);
        FuzzFailedException failure = Assert.Throws<FuzzFailedException>(() => FuzzEngine.Run(target, 5, 10_000, patience: TimeSpan.FromMilliseconds(300)));
        Assert.Contains("took more than 0.3 s", failure.Message, StringComparison.Ordinal);
        Assert.Contains((byte)'!', Reproduced(target, failure).Input);
        Assert.False(Directory.Exists(target.Folder));
    }

    [Fact]
    public void Run_AllocatesMoreThanTheInputIsWorth_IsReported()
    {
        using var target = new BrokenTarget(input => input.Contains((byte)'!') ? new byte[40 << 20].Length : 0);
        Assert.Contains("allocated", Assert.Throws<FuzzFailedException>(() => FuzzEngine.Run(target, 5, 10_000)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Run_SoundTarget_CountsTheSameEveryTime()
    {
        using var target = new BrokenTarget(input => input.Contains((byte)'!') ? throw new BadInputException("FL3001", "fuzz", "an exclamation mark.", "None.") : 0);
        FuzzReport first = FuzzEngine.Run(target, 5, 2_000), second = FuzzEngine.Run(target, 5, 2_000), other = FuzzEngine.Run(target, 6, 2_000);
        Assert.Equal(2_000, first.Accepted + first.Refusals["FL3001"]);
        Assert.Equal(first.Refusals["FL3001"], second.Refusals["FL3001"]);
        Assert.InRange(first.Refusals["FL3001"], 1, 1_999);
        Assert.NotEqual(first.Refusals["FL3001"], other.Refusals["FL3001"]);           // 2,000 cases of another seed: equal counts would be chance, and the seeds are fixed
    }

    private static (long Number, byte[] Input) Reproduced(FuzzTarget target, FuzzFailedException failure)
    {
        string[] words = failure.Message.Split(' ');
        long number = long.Parse(words[Array.IndexOf(words, "case") + 1].TrimEnd(':'), System.Globalization.CultureInfo.InvariantCulture);
        string path = Path.Combine(FuzzFiles.Root, "build", "fuzz", $"{target.Name}.seed-5.case-{number}");
        Assert.Contains(path, failure.Message, StringComparison.Ordinal);
        byte[] input = File.ReadAllBytes(path);
        File.Delete(path);
        return (number, input);
    }

    /// <param name="read">What reading does; null: it never ends at an exclamation mark, until the target is disposed.</param>
    private sealed class BrokenTarget(Func<byte[], int>? read) : FuzzTarget("broken", 0), IDisposable
    {
        private readonly ManualResetEventSlim _end = new();
        private volatile string? _folder;

        /// <summary>The folder of the last run.</summary>
        public string Folder => Path.GetDirectoryName(_folder ?? throw new InvalidOperationException("Nothing was read."))!;

        public override byte[] Make(FuzzRandom random) => [.. Enumerable.Range(0, 20).Select(_ => (byte)random.Between('!', '~'))];

        protected override IEnumerable<byte[]> MadeSeeds() => [Encoding.ASCII.GetBytes("seed")];

        protected override void Read(byte[] input, string folder)
        {
            if (folder.Length > 0)
                _folder = folder;
            if (read is not null)
                _ = read(input);
            else if (input.Contains((byte)'!'))
                _end.Wait();
        }

        // Not disposed: a thread that hung may still look at it.
        public void Dispose() => _end.Set();
    }
}
