using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using FedLearn.Alignment.Ristretto;

namespace FedLearn.Experiments.Alignment;

/// <summary>Compares an engine with libsodium bit for bit, on all cores. Everything is made from the seed and the number of a chunk, so that a difference can be looked at again.</summary>
/// <param name="reference">libsodium.</param>
/// <param name="engine">The engine under test.</param>
/// <param name="seed">Seed.</param>
internal sealed class EngineCheck(IRistrettoEngine reference, IRistrettoEngine engine, long seed)
{
    private const int Chunk = 1024;

    // Little-endian: the order of the group less 1.
    private static readonly byte[] Greatest = Convert.FromHexString("ECD3F55C1A631258D69CF7A2DEF9DE1400000000000000000000000000000010");

    /// <summary>Runs the check.</summary>
    /// <param name="inputs">Hashes to map and multiply; every product is multiplied once more.</param>
    /// <param name="stop">Stops.</param>
    /// <returns>0 when all is equal, 1 otherwise.</returns>
    public int Run(long inputs, CancellationToken stop)
    {
        long chunks = (inputs + Chunk - 1) / Chunk, done = 0, different = 0, refused = 0;
        long start = Stopwatch.GetTimestamp(), printed = start;
        Print($"{engine.Name} against {reference.Name}: {chunks * Chunk:N0} hashes mapped and multiplied, each product multiplied again, and as many points with a flipped bit; seed {seed}, {Environment.ProcessorCount} cores.");
        Parallel.For(0, chunks, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = stop }, chunk =>
        {
            (int bad, bool flippedRefused) = Compare(chunk);
            if (bad > 0)
            {
                Interlocked.Add(ref different, bad);
                Print($"chunk {chunk}: {bad} differences");
            }

            Interlocked.Add(ref refused, flippedRefused ? 1 : 0);
            long now = Interlocked.Increment(ref done);
            if (now % 500 == 0)
                Print($"{now * Chunk:N0} inputs, {Stopwatch.GetElapsedTime(start).TotalSeconds:0} s");
        });
        Print($"{chunks * Chunk:N0} inputs, {different:N0} differences, {Stopwatch.GetElapsedTime(start).TotalSeconds:0} s; of {chunks:N0} lists with a flipped bit {refused:N0} were refused, by both at the same point. Seed {seed}.");
        return different == 0 ? 0 : 1;
    }

    /// <returns>Differences in one chunk, and whether the list with a flipped bit was refused.</returns>
    private (int Different, bool Refused) Compare(long chunk)
    {
        byte[] hashes = new byte[Chunk * 64], expected = new byte[Chunk * 32], actual = new byte[Chunk * 32], again = new byte[Chunk * 32], actualAgain = new byte[Chunk * 32];
        Span<byte> first = stackalloc byte[32], second = stackalloc byte[32];
        Fill(chunk, 0, hashes);
        Scalar(chunk, 1, first);
        Scalar(chunk, 2, second);
        reference.Blind(hashes, first, expected);
        engine.Blind(hashes, first, actual);
        int different = Differences(expected, actual);
        if (reference.Multiply(expected, second, again) != engine.Multiply(expected, second, actualAgain))
            different++;
        different += Differences(again, actualAgain);

        // Half of all strings are no encoding at all, so one flipped bit makes both: a refusal at the same point, or other products.
        Span<byte> pick = stackalloc byte[64];
        Fill(chunk, 3, pick);
        int place = (int)(BinaryPrimitives.ReadUInt32LittleEndian(pick) % Chunk), bit = pick[4];
        expected[(place * 32) + (bit / 8)] ^= (byte)(1 << (bit % 8));
        int refused = reference.Multiply(expected, second, again);
        if (refused != engine.Multiply(expected, second, actualAgain))
            different++;
        else if (refused == -1)
            different += Differences(again, actualAgain);
        return (different, refused >= 0);
    }

    // Every eighth chunk has a scalar at an edge: 1, 2, the order less 1 and less 2, a power of two, all windows full.
    private void Scalar(long chunk, byte purpose, Span<byte> scalar)
    {
        Span<byte> wide = stackalloc byte[64];
        Fill(chunk, purpose, wide);
        wide[..32].CopyTo(scalar);
        scalar[31] &= 0x0f;
        if (wide[32] % 8 != 0)
            return;
        scalar.Clear();
        switch (wide[33] % 6)
        {
            case 0 or 1:
                scalar[0] = (byte)(1 + (wide[33] % 6));
                break;
            case 2 or 3:
                Greatest.CopyTo(scalar);
                scalar[0] -= (byte)((wide[33] % 6) - 2);
                break;
            case 4:
                scalar[wide[34] % 31] = (byte)(1 << (wide[35] % 8));
                break;
            default:
                scalar[..31].Fill(0xff);
                scalar[31] = 0x0f;
                break;
        }
    }

    // SHA-512 of seed, chunk, purpose and a counter.
    private void Fill(long chunk, byte purpose, Span<byte> bytes)
    {
        Span<byte> input = stackalloc byte[21];
        BinaryPrimitives.WriteInt64LittleEndian(input, seed);
        BinaryPrimitives.WriteInt64LittleEndian(input[8..], chunk);
        input[16] = purpose;
        for (int i = 0; i * 64 < bytes.Length; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(input[17..], i);
            SHA512.HashData(input, bytes[(i * 64)..]);
        }
    }

    private static int Differences(ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual)
    {
        if (expected.SequenceEqual(actual))
            return 0;
        int different = 0;
        for (int i = 0; i < expected.Length; i += 32)
            if (!expected.Slice(i, 32).SequenceEqual(actual.Slice(i, 32)))
                different++;
        return different;
    }

    private static void Print(FormattableString line) => Console.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
