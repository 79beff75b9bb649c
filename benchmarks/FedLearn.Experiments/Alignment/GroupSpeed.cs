using System.Diagnostics;
using System.Security.Cryptography;
using FedLearn.Alignment;
using FedLearn.Alignment.Ristretto;
using FedLearn.Data;

namespace FedLearn.Experiments.Alignment;

/// <summary>What an engine needs for a point, in microseconds of processor time.</summary>
/// <param name="Engine">Its name.</param>
/// <param name="Blind">Map of 64 bytes into the group and one multiplication.</param>
/// <param name="Multiply">One multiplication, with the checks of an encoding from a peer.</param>
internal sealed record EngineSpeed(string Engine, double Blind, double Multiply)
{
    /// <summary>The map: what blinding takes beyond a multiplication.</summary>
    public double Map => Blind - Multiply;

    /// <summary>What an id costs a party in the group alone: one map and two multiplications.</summary>
    public double PerId => Blind + Multiply;
}

/// <summary>What hashing takes, in microseconds of processor time an id.</summary>
/// <param name="Expand">Normal form, encoding, and expand_message_xmd with SHA-512.</param>
/// <param name="Tag">SHA-256 of a session id and a point.</param>
/// <param name="Order">Order of the common rows: SHA-256 of each id, sorted.</param>
internal sealed record HashSpeed(double Expand, double Tag, double Order);

/// <summary>Times the parts of the protocol.</summary>
internal static class GroupSpeed
{
    private const int Points = 4096;

    /// <summary>Times engines and hashes by turns.</summary>
    /// <param name="engines">The engines.</param>
    /// <param name="rounds">Rounds; the least of each counts.</param>
    /// <param name="threads">Threads that do the same at once: what a point takes then is more where cores share something.</param>
    public static (IReadOnlyList<EngineSpeed> Engines, HashSpeed Hashes) Measure(IReadOnlyList<IRistrettoEngine> engines, int rounds, int threads)
    {
        byte[] scalar = RandomNumberGenerator.GetBytes(32);
        scalar[31] &= 0x0f;
        Action[][] work = [.. Enumerable.Range(0, threads).Select(_ => Work(engines, scalar))];
        double[] best = [.. work[0].Select(_ => double.PositiveInfinity)];
        using var process = Process.GetCurrentProcess();
        for (int round = -1; round < rounds; round++)
            for (int i = 0; i < best.Length; i++)
            {
                double seconds = Cpu(process, [.. work.Select(w => w[i])]);
                if (round >= 0)
                    best[i] = Math.Min(best[i], seconds * 1e6 / Points);
            }

        int at = 2 * engines.Count;
        return ([.. engines.Select((e, i) => new EngineSpeed(e.Name, best[2 * i], best[(2 * i) + 1]))], new HashSpeed(best[at], best[at + 1], best[at + 2]));
    }

    private static Action[] Work(IReadOnlyList<IRistrettoEngine> engines, byte[] scalar)
    {
        byte[] hashes = RandomNumberGenerator.GetBytes(Points * 64), points = new byte[Points * 32], products = new byte[Points * 32];
        string[] ids = [.. Enumerable.Range(0, Points).Select(i => $"id-{i:0000000000}")];
        byte[] encoded = [];
        engines[0].Blind(hashes, scalar, points);

        List<Action> work = [];
        foreach (IRistrettoEngine engine in engines)
        {
            work.Add(() => engine.Blind(hashes, scalar, products));
            work.Add(() =>
            {
                if (engine.Multiply(points, scalar, products) != -1)
                    throw new InvalidOperationException("A valid point was refused.");
            });
        }

        work.Add(() =>
        {
            using var expander = new MessageExpander(HashToGroup.Tag(new byte[32]));
            for (int i = 0; i < Points; i++)
            {
                int length = HashToGroup.Encode(ids[i], ref encoded);
                expander.Expand(encoded.AsSpan(0, length), hashes.AsSpan(i * 64, 64));
            }
        });
        work.Add(() =>
        {
            using var sha256 = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            Span<byte> input = stackalloc byte[64], digest = stackalloc byte[32];
            for (int i = 0; i < Points; i++)
            {
                points.AsSpan(i * 32, 32).CopyTo(input[32..]);
                sha256.AppendData(input);
                sha256.GetHashAndReset(digest);
            }
        });
        work.Add(() => RowIds.Order(ids, 1));
        return [.. work];
    }

    // Processor time of the process, of which nothing else runs: at least .2 s of it, since the system counts it coarsely. Seconds a call.
    private static double Cpu(Process process, Action[] threads)
    {
        process.Refresh();
        TimeSpan start = process.TotalProcessorTime, spent;
        int calls = 0;
        do
        {
            if (threads.Length == 1)
                threads[0]();
            else
                Parallel.Invoke(new ParallelOptions { MaxDegreeOfParallelism = threads.Length }, threads);
            calls += threads.Length;
            process.Refresh();
            spent = process.TotalProcessorTime - start;
        }
        while (spent < TimeSpan.FromSeconds(0.2));
        return spent.TotalSeconds / calls;
    }
}
