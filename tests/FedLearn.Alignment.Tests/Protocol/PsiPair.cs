using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using FedLearn.Coordination;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment.Tests.Protocol;

/// <summary>Two parties in one process.</summary>
internal static class PsiPair
{
    public static readonly byte[] JobDigest = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    private static int _pairs;

    public static (string[] Active, string[] Passive) Ids(int active, int passive, int common, int seed)
    {
        var random = new Random(seed);
        string[] first = [.. Enumerable.Range(0, active).Select(i => i < common ? $"both-{i}" : $"active-{i}")];
        string[] second = [.. Enumerable.Range(0, passive).Select(i => i < common ? $"both-{i}" : $"passive-{i}")];
        random.Shuffle(first);
        random.Shuffle(second);
        return (first, second);
    }

    /// <summary>The plain intersection: own rows, rising.</summary>
    public static int[] Common(IReadOnlyList<string> own, IReadOnlyList<string> theirs)
    {
        var there = theirs.ToHashSet();
        return [.. Enumerable.Range(0, own.Count).Where(i => there.Contains(own[i]))];
    }

    /// <summary>Names that no other test has: the log of the process counts the sessions of a pair.</summary>
    public static (InMemoryChannel Active, InMemoryChannel Passive) Channels()
    {
        int pair = Interlocked.Increment(ref _pairs);
        return InMemoryChannel.CreatePair($"bank{pair}", $"clinic{pair}");
    }

    public static async Task<(PsiResult Active, PsiResult Passive)> RunAsync(IReadOnlyList<string> active, IReadOnlyList<string> passive, PsiOptions options, PsiOptions? passiveOptions = null)
    {
        (InMemoryChannel a, InMemoryChannel b) = Channels();
        await using (a)
        await using (b)
        {
            Task<PsiResult> first = PsiParty.RunAsync(PartyRole.Active, active, JobDigest, a, options, cancellationToken: TestContext.Current.CancellationToken);
            Task<PsiResult> second = PsiParty.RunAsync(PartyRole.Passive, passive, JobDigest, b, passiveOptions ?? options, cancellationToken: TestContext.Current.CancellationToken);
            await Task.WhenAll(first, second);
            return (await first, await second);
        }
    }
}

/// <summary>A channel that stops with a cancellation at one of its messages, sent or received, and keeps what was sent.</summary>
/// <param name="inner">The channel.</param>
/// <param name="stopAt">Number of the message, from 0, at which it stops; null for never.</param>
internal sealed class StoppingChannel(IPartyChannel inner, int? stopAt) : IPartyChannel
{
    private int _messages;

    /// <summary>Payloads sent, in order.</summary>
    public ConcurrentQueue<Payload> Sent { get; } = [];

    /// <summary>Whether it has stopped.</summary>
    public bool Stopped { get; private set; }

    public string LocalParty => inner.LocalParty;

    public string RemoteParty => inner.RemoteParty;

    public ChannelStatistics Statistics => inner.Statistics;

    public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

    public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
    {
        Count();
        await inner.SendAsync(round, message, cancellationToken);
        Sent.Enqueue(message.Payload);
    }

    public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
    {
        T message = await inner.ReceiveAsync<T>(round, length, cancellationToken);
        Count();
        return message;
    }

    public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

    public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private void Count()
    {
        if (Stopped || Interlocked.Increment(ref _messages) - 1 == stopAt)
        {
            Stopped = true;
            throw new OperationCanceledException("The test stops here.");
        }
    }
}

/// <summary>A channel that hands on the first chunk of points once the second has come as well, and does something before.</summary>
internal sealed partial class FullDiskChannel(IPartyChannel inner, Action before) : IPartyChannel
{
    private object? _second;
    private bool _begun;

    public string LocalParty => inner.LocalParty;

    public string RemoteParty => inner.RemoteParty;

    public ChannelStatistics Statistics => inner.Statistics;

    public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

    /// <summary>From here on this process finds the disk full where it writes to a file that it has open.</summary>
    public static void Fill(string path)
    {
        string link = Directory.GetFiles("/proc/self/fd").First(fd => File.ResolveLinkTarget(fd, false)?.FullName == path);
        using var full = new FileStream("/dev/full", FileMode.Open, FileAccess.ReadWrite);
        Assert.True(Duplicate((int)full.SafeFileHandle.DangerousGetHandle(), int.Parse(Path.GetFileName(link), System.Globalization.CultureInfo.InvariantCulture)) >= 0);
    }

    public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload => inner.SendAsync(round, message, cancellationToken);

    public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
    {
        if (_second is T second)
        {
            _second = null;
            return second;
        }

        T message = await inner.ReceiveAsync<T>(round, length, cancellationToken);
        if (_begun || typeof(T) != typeof(BlindedIds))
            return message;
        _begun = true;
        _second = await inner.ReceiveAsync<T>(round, length, cancellationToken);
        before();
        return message;
    }

    public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

    public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    [LibraryImport("libc", EntryPoint = "dup2")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Duplicate(int from, int to);
}
