using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Testing;

namespace FedLearn.Baselines.Tests.Attacks;

/// <summary>The arbiter reads a party's column from masked sums that were not re-randomised, once it has seen the shares that they were computed from: the random part
/// of a sum is a linear image of the column. Masks do not help, for they hide the plaintext alone.</summary>
public class ColumnRecoveryTests
{
    private const int Rows = 8, Width = 20;

    private static readonly BigInteger Prime = ReferenceAdditiveScheme.Prime;

    [Fact]
    public async Task MaskedSums_WithoutFreshEncryptionsOfZero_GiveTheArbiterTheColumn()
    {
        (BigInteger[] column, BigInteger[] solved) = await AttackAsync(new ReferenceAdditiveScheme { SumRandomness = () => 0 });
        Assert.Equal(column, solved);
    }

    // A solution is then uniform: one entry is right by chance with probability 2^-160.
    [Fact]
    public async Task MaskedSums_ReRandomised_GiveTheArbiterNothing()
    {
        (BigInteger[] column, BigInteger[] solved) = await AttackAsync(new ReferenceAdditiveScheme());
        Assert.DoesNotContain(true, column.Zip(solved, (x, guess) => x == guess));
    }

    // Fresh encryptions of 0 help only if they are fresh: one that is used in every round is one unknown more, and one round more finds it.
    [Fact]
    public async Task MaskedSums_WithOneEncryptionOfZeroForAll_GiveTheArbiterTheColumn()
    {
        var reused = new BigInteger(123456789);
        (BigInteger[] column, BigInteger[] solved) = await AttackAsync(new ReferenceAdditiveScheme { SumRandomness = () => reused }, constant: true);
        Assert.Equal(column, solved[..Rows]);
        Assert.Equal(reused, solved[Rows]);
    }

    /// <summary>Sees as many rounds as there are unknowns, and solves k' x = k of the sum, modulo the prime.</summary>
    private static async Task<(BigInteger[] Column, BigInteger[] Solved)> AttackAsync(ReferenceAdditiveScheme scheme, bool constant = false)
    {
        var random = new Random(43);
        double[] column = [.. Enumerable.Range(0, Rows).Select(_ => Math.Round(Math.ScaleB((2 * random.NextDouble()) - 1, 20)) * Math.ScaleB(1, -20))];
        await using IKeyHolder holder = await scheme.CreateKeyAsync();
        await using IEncryptor party = await scheme.UseKeyAsync(holder.PublicKey), peer = await scheme.UseKeyAsync(holder.PublicKey);
        using PlainColumns plain = await party.EncodeAsync(column, Rows);
        int unknowns = Rows + (constant ? 1 : 0);
        BigInteger[][] system = new BigInteger[unknowns][];
        for (int round = 0; round < unknowns; round++)
        {
            using CipherVector share = await peer.EncryptAsync(new double[Rows]);
            ReadOnlyMemory<byte> seen = await share.SaveAsync();
            using CipherVector received = await party.LoadAsync(seen, Rows);
            MaskedSums sums = await party.MaskedSumsAsync(received, plain);
            system[round] = [.. Enumerable.Range(0, Rows).Select(i => Random(seen.Span, i)), .. constant ? [BigInteger.One] : Array.Empty<BigInteger>(), Random(sums.Bytes.Span, 0)];
        }

        BigInteger[] solved = Solve(system);
        return ([.. column.Select(x => new BigInteger(Math.ScaleB(x, 30)))], [.. solved.Select(x => 2 * x > Prime ? x - Prime : x)]);
    }

    // A ciphertext is (m + s k, k).
    private static BigInteger Random(ReadOnlySpan<byte> pairs, int i) => new(pairs.Slice((2 * i * Width) + Width, Width), isUnsigned: true);

    private static BigInteger[] Solve(BigInteger[][] system)
    {
        int n = system.Length;
        for (int pivot = 0; pivot < n; pivot++)
        {
            int row = Enumerable.Range(pivot, n - pivot).First(r => !system[r][pivot].IsZero);
            (system[pivot], system[row]) = (system[row], system[pivot]);
            BigInteger inverse = BigInteger.ModPow(system[pivot][pivot], Prime - 2, Prime);
            system[pivot] = [.. system[pivot].Select(v => v * inverse % Prime)];
            for (int r = 0; r < n; r++)
                if (r != pivot && system[r][pivot] is { IsZero: false } factor)
                    system[r] = [.. system[r].Select((v, c) => ((v - (factor * system[pivot][c])) % Prime + Prime) % Prime)];
        }

        return [.. system.Select(r => r[n])];
    }
}
