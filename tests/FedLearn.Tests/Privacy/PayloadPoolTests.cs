using System.Buffers;
using System.Runtime.InteropServices;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Privacy;

/// <summary>Who owns the memory of a message, and that nobody sees it change while he does.</summary>
public sealed class PayloadPoolTests
{
    private const int Acts = 200;

    [Fact]
    public void Payloads_TakenAndGivenBackAtRandom_NeverChangeWhileHeld() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(100)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        var pool = new PayloadPool();
        var held = new List<(RoundVector Payload, double[] Numbers, byte[] Packed)>();
        for (int act = 0; act < Acts; act++)
        {
            if (held.Count > 0 && random.Next(2) == 0)
            {
                int at = random.Next(held.Count);
                RoundVector back = held[at].Payload;
                pool.Return(back);
                if (random.Next(4) == 0)
                    pool.Return(back); // twice is once
                held.RemoveAt(at);
            }
            else
            {
                RoundVector source = Any(random);
                RoundVector taken = random.Next(2) == 0 ? pool.Copy(source) : Read(pool, source)!;
                Assert.Equal(source.GetType(), taken.GetType());
                Assert.False(taken.IsTransient);
                held.Add((taken, source.Values.ToArray(), source.Lattice?.Packed.ToArray() ?? []));
            }

            foreach ((RoundVector payload, double[] numbers, byte[] packed) in held)
            {
                Assert.True(payload.Values.Span.SequenceEqual(numbers));
                Assert.Equal(packed, payload.Lattice?.Packed.ToArray() ?? []);
            }
        }

        Assert.Equal(held.Count, held.Select(h => h.Payload).Distinct().Count());
    }));

    [Fact]
    public void Return_OfAnotherPoolOrOfNone_TakesNothing()
    {
        var pool = new PayloadPool();
        var foreign = new Scores(new double[] { 1, 2 });
        RoundVector others = new PayloadPool().Copy(foreign);
        pool.Return(foreign);
        pool.Return(others);
        RoundVector mine = pool.Copy(new Scores(new double[] { 3, 4 }));
        Assert.NotSame(others, mine);
        Assert.Equal([1, 2], foreign.Values.ToArray());
        Assert.Equal([1, 2], others.Values.ToArray());
    }

    [Fact]
    public void Copy_AfterReturn_TakesTheSameMemory()
    {
        var pool = new PayloadPool();
        RoundVector first = pool.Copy(new Residuals(new double[] { 1, 2 }));
        pool.Return(first);
        Assert.Same(first, pool.Copy(new Residuals(new double[] { 3, 4 })));
        Assert.Equal([3, 4], first.Values.ToArray());
    }

    [Theory]
    [InlineData(ElementType.Float64, 12, 0, 0)]
    [InlineData(ElementType.Float32, 6, 0, 0)]
    [InlineData(ElementType.Lattice, 8, 30, 2)]   // a byte too many
    [InlineData(ElementType.Lattice, 7, 54, 1)]
    [InlineData(ElementType.Lattice, 4, 30, 1)]   // bits beyond the last element are set
    public void Read_PartsThatDoNotFit_IsNull(ElementType type, int bytes, int bits, int length) =>
        Assert.Null(new PayloadPool().Read<Scores>(type, 1, bits, length, new ReadOnlySequence<byte>([.. Enumerable.Repeat((byte)0xFF, bytes)])));

    [Fact]
    public void Release_OfTransientValues_TakesTheMemoryOfTheLastAndOfOthersNone()
    {
        var mechanism = GaussianMechanism.NotPrivate(new NoiseCalibration(1, 1, 100, 1), new TestNoise(1, "transient"), NoReservation.Instance);
        double[] values = new double[300];
        Released<Scores> kept = mechanism.Release(new Scores(values), "kept");
        double[] before = kept.Payload.Values.ToArray();
        Released<Scores> first = mechanism.Release(new Scores(values) { IsTransient = true }, "sent");
        double[] numbers = first.Payload.Values.ToArray();
        byte[] packed = first.Payload.Lattice!.Packed.ToArray();
        Released<Scores> second = mechanism.Release(new Scores(values) { IsTransient = true }, "sent");
        Assert.Same(first, second);
        Assert.True(second.Payload.IsTransient);
        Assert.NotEqual(numbers, second.Payload.Values.ToArray());
        Assert.NotEqual(packed, second.Payload.Lattice!.Packed.ToArray());
        Assert.Equal(second.Payload.Lattice.Values(), second.Payload.Values.ToArray());
        Assert.Equal(before, kept.Payload.Values.ToArray());
        Assert.NotSame(second, mechanism.Release(new Scores(values.AsMemory(1)) { IsTransient = true }, "sent"));
        Assert.NotSame(second, mechanism.Release(new Scores(values) { IsTransient = true }, "another name"));
    }

    [Fact]
    public async Task InMemoryChannel_SenderWritesATransientPayloadAgain_ReceiverDoesNotSeeIt()
    {
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("bank", "telco");
        double[] numbers = [1, 2, 3];
        Released<Scores> message = Disclosure.Unprotected(new Scores(numbers) { IsTransient = true }, "test");
        await first.SendAsync(0, message, TestContext.Current.CancellationToken);
        numbers.AsSpan().Fill(9);
        await first.SendAsync(1, message, TestContext.Current.CancellationToken);
        Scores kept = await second.ReceiveAsync<Scores>(0, 3, TestContext.Current.CancellationToken), next = await second.ReceiveAsync<Scores>(1, 3, TestContext.Current.CancellationToken);
        Assert.Equal([1, 2, 3], kept.Values.ToArray());
        Assert.Equal([9, 9, 9], next.Values.ToArray());
        second.Return(next);
        await first.SendAsync(2, message, TestContext.Current.CancellationToken);
        Assert.Same(next, await second.ReceiveAsync<Scores>(2, 3, TestContext.Current.CancellationToken));
        Assert.Equal([1, 2, 3], kept.Values.ToArray());
    }

    private static RoundVector Any(Random random)
    {
        int length = random.Next(4);
        double[] numbers = [.. Enumerable.Range(0, length).Select(_ => (double)random.NextSingle())];
        bool scores = random.Next(2) == 0, transient = random.Next(2) == 0;
        ElementType type = (ElementType)random.Next(3);
        if (type != ElementType.Lattice)
            return scores ? new Scores(numbers, type) { IsTransient = transient } : new Residuals(numbers, type) { IsTransient = transient };
        LatticeVector lattice = LatticeVector.Of(numbers, random.Next(2) == 0 ? 1.0 / 1024 : 1.0 / 4096, 1);
        return scores ? new Scores(lattice) { IsTransient = transient } : new Residuals(lattice) { IsTransient = transient };
    }

    private static RoundVector? Read(PayloadPool pool, RoundVector source)
    {
        byte[] packed = source.Lattice is { } lattice ? lattice.Packed.ToArray() : source.ElementType == ElementType.Float32
            ? MemoryMarshal.AsBytes<float>([.. source.Values.ToArray().Select(v => (float)v)]).ToArray() : MemoryMarshal.AsBytes(source.Values.Span).ToArray();
        var sequence = new ReadOnlySequence<byte>(packed);
        (double step, int bits) = (source.Lattice?.Step ?? 0, source.Lattice?.Bits ?? 0);
        return source is Scores ? pool.Read<Scores>(source.ElementType, step, bits, source.Length, sequence) : pool.Read<Residuals>(source.ElementType, step, bits, source.Length, sequence);
    }
}
