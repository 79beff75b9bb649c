using System.Buffers.Binary;
using FedLearn.Alignment.Ristretto;
using FedLearn.Alignment.Tests.Hostile;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment.Tests.Memory;

/// <summary>A session holds a few numbers an id and no list of all points: neither in a message nor beside the wire.</summary>
public sealed class MemoryTests
{
    private const int Rows = 1_000_000;

    [Fact]
    public async Task Run_AMillionIds_NoMessageIsLargeAndTheHeapStaysSmall()
    {
        // An engine that hashes in place of multiplying, so that a million ids take seconds; both parties in one process.
        var options = new PsiOptions { Threads = 1, Log = new InMemoryAlignmentLog(TimeProvider.System) };
        var watch = new Heap();
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("bank", "clinic");
        BoundedChannel active = new(first, watch), passive = new(second, watch);
        (active.Peer, passive.Peer) = (passive, active);
        PreparedIds ids = PreparedIds.Create(new Numbers(Rows, 0), options, 1), others = PreparedIds.Create(new Numbers(Rows, Rows / 2), options, 1);
        using var workers = new Workers(1);
        using var otherWorkers = new Workers(1);
        using PsiSession one = new(PartyRole.Active, ids, Duel.JobDigest, active, options, new HashEngine(), workers, null);
        using PsiSession two = new(PartyRole.Passive, others, Duel.JobDigest, passive, options, new HashEngine(), otherWorkers, null);
        long before = GC.GetTotalMemory(forceFullCollection: true);
        watch.Begin();
        Task<PsiOutcome> running = one.RunAsync(default);
        await Task.WhenAll(running, two.RunAsync(default)).WaitAsync(2 * Duel.Patience);
        Assert.Equal(Rows / 2, (await running).Result.Size);

        Assert.Equal(ReferencePsi.ChunkIds, active.Largest);
        Assert.Equal(ReferencePsi.ChunkIds, passive.Largest);
        Assert.InRange(active.MostUnderWay, 1, 8);
        // By design 4 + 4 x 16 bytes an id and side at most; 70 were measured. All points of one list would be 32 more.
        double bytes = (watch.Most - before) / (2.0 * Rows);
        Assert.InRange(bytes, 0, 90);
        TestContext.Current.SendDiagnosticMessage($"{bytes:0.0} bytes an id and side live at the most");
    }

    /// <summary>Ids from a number on, made when they are asked for.</summary>
    private sealed class Numbers(int count, int from) : IReadOnlyList<string>
    {
        public int Count => count;

        public string this[int index] => (from + index).ToString(System.Globalization.CultureInfo.InvariantCulture);

        public IEnumerator<string> GetEnumerator() => Enumerable.Range(0, count).Select(i => this[i]).GetEnumerator();

        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();
    }

    /// <summary>What is live after a full collection, looked at now and then.</summary>
    private sealed class Heap
    {
        private int _messages;

        public long Most { get; private set; }

        public void Begin() => Most = 0;

        public void Look()
        {
            if (Interlocked.Increment(ref _messages) % 100 != 0)
                return;
            lock (this)
                Most = Math.Max(Most, GC.GetTotalMemory(forceFullCollection: true));
        }
    }

    /// <summary>A channel that counts, and holds the sender back while the receiver has not taken what was sent, as a network does.</summary>
    private sealed class BoundedChannel(IPartyChannel inner, Heap heap) : IPartyChannel
    {
        private readonly SemaphoreSlim _room = new(8);
        private int _underWay;

        public BoundedChannel? Peer { get; set; }

        public int Largest { get; private set; }

        public int MostUnderWay { get; private set; }

        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
        {
            await _room.WaitAsync(cancellationToken);
            MostUnderWay = Math.Max(MostUnderWay, Interlocked.Increment(ref _underWay));
            if (message.Payload is SealedPayload)
                Largest = Math.Max(Largest, message.Payload.Length);
            await inner.SendAsync(round, message, cancellationToken);
        }

        public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
        {
            T payload = await inner.ReceiveAsync<T>(round, length, cancellationToken);
            Interlocked.Decrement(ref Peer!._underWay);
            Peer._room.Release();
            heap.Look();
            return payload;
        }

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }

    /// <summary>Not a group, but commutative like one: a point is its first hash word and the rest of the hash with the scalars added to it.</summary>
    private sealed class HashEngine : IRistrettoEngine
    {
        public string Name => "hash";

        public void Blind(ReadOnlySpan<byte> hashes, ReadOnlySpan<byte> scalar, Span<byte> points)
        {
            for (int i = 0; i < points.Length / 32; i++)
            {
                hashes.Slice(i * 64, 32).CopyTo(points.Slice(i * 32, 32));
                Add(points.Slice(i * 32, 32), scalar);
            }
        }

        public int Multiply(ReadOnlySpan<byte> points, ReadOnlySpan<byte> scalar, Span<byte> products)
        {
            points.CopyTo(products);
            for (int i = 0; i < points.Length / 32; i++)
                Add(products.Slice(i * 32, 32), scalar);
            return -1;
        }

        private static void Add(Span<byte> point, ReadOnlySpan<byte> scalar)
        {
            for (int word = 0; word < 32; word += 8)
                BinaryPrimitives.WriteUInt64LittleEndian(point[word..], unchecked(BinaryPrimitives.ReadUInt64LittleEndian(point[word..]) + BinaryPrimitives.ReadUInt64LittleEndian(scalar[word..])));
        }
    }
}
