using System.Buffers.Binary;
using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.Tests.Protocol;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Baselines.Tests.Attacks;

/// <summary>Exact decryptions of CKKS tell of the key (Li and Micciancio, ePrint 2020/1533): an opened coefficient is c0 + (c1 s)_0 modulo Q, one linear equation in
/// the secret s for whoever knows the ciphertext, noise and all. The arbiter's flooding takes that equation away.</summary>
public class KeyRecoveryTests
{
    private const int N = CkksParameters.N, Digits = 74;

    [Fact]
    public async Task Answers_AsOpened_AreEquationsInTheKeyAndAsSentAreNot()
    {
        await Schemes.NamedAsync(Schemes.Ckks);
        CkksScheme scheme = CkksScheme.OnNode();
        await using IKeyHolder holder = await scheme.CreateKeyAsync();
        byte[] secret = CkksRing.Transform(await SecretAsync(holder));

        // A training with that key, whose messages the attacker knows: its own ciphertexts and the arbiter's answers to them.
        var data = new EncryptedRows(44, "binomial", 60, 3, 3);
        GlmJob job = data.Job(new() { Optimizer = GlmOptimizer.Sgd, Epochs = 5 });
        var federation = new EncryptedFederation(job, scheme) { Schemes = new Dictionary<string, IAdditiveScheme> { [job.Privacy.He.Arbiter] = new GivenKey(scheme, holder) } };
        await federation.TrainAsync(data.Inputs());
        var flooding = new List<BigInteger>();
        foreach ((_, string party, int round, Payload payload) in federation.Received.Where(m => m.Payload is MaskedProducts))
        {
            var masked = (MaskedProducts)payload;
            var answers = (MaskedAnswers)federation.Received.Single(m => m.To == party && m.Round == round && m.Payload is MaskedAnswers).Payload;
            BigInteger[] opened = await holder.OpenAsync(masked.Bytes, masked.Length);
            for (int j = 0; j < masked.Length; j++)
            {
                ReadOnlySpan<byte> one = masked.Bytes.Span.Slice(j * CkksParameters.MaskedBytes, CkksParameters.MaskedBytes);
                BigInteger right = ((BigInteger)BinaryPrimitives.ReadUInt128LittleEndian(one) + CkksRing.ConstantOfProduct(one[CkksParameters.AnswerBytes..], secret)) % CkksRing.Q;
                Assert.Equal(right, opened[j]); // without flooding: exact, each of them
                BigInteger sent = new(answers.Bytes.Span.Slice(j * CkksParameters.AnswerBytes, CkksParameters.AnswerBytes), isUnsigned: true);
                BigInteger off = (sent - right + CkksRing.Q) % CkksRing.Q;
                flooding.Add(2 * off > CkksRing.Q ? off - CkksRing.Q : off);
            }
        }

        // Flooding is uniform on 2^78 integers: that one of 30 is 0 has probability 2^-73, that none is beyond 2^74 has 2^-90, that all have one sign 2^-29.
        Assert.Equal(30, flooding.Count);
        BigInteger half = BigInteger.One << (holder.Answers.FloodBits - 1);
        Assert.All(flooding, f => Assert.True(f >= -half && f < half && !f.IsZero));
        Assert.Contains(flooding, f => BigInteger.Abs(f) > half >> 3);
        Assert.Contains(flooding, f => f.Sign < 0);
        Assert.Contains(flooding, f => f.Sign > 0);
        Assert.Equal(30, flooding.Distinct().Count());
    }

    /// <summary>The whole secret key from 111 exact decryptions. Its coefficients are -1, 0 and 1, so a query with c0 = 0 and c1 = sum_t 3^t X^(-j_t) opens 74 of them as the
    /// balanced ternary digits of one integer. Honest ciphertexts give the same equations one coefficient at a time.</summary>
    private static async Task<BigInteger[]> SecretAsync(IKeyHolder holder)
    {
        int queries = ((N - 1) / Digits) + 1;
        byte[] bytes = new byte[queries * CkksParameters.MaskedBytes];
        for (int query = 0; query < queries; query++)
        {
            var coefficients = new BigInteger[N];
            for (int t = 0, j = query * Digits; t < Digits && j < N; t++, j++)
                coefficients[(N - j) % N] = (j == 0 ? 1 : -1) * BigInteger.Pow(3, t); // X^(N-j) s_j X^j = -s_j
            CkksRing.Transform(coefficients).CopyTo(bytes, (query * CkksParameters.MaskedBytes) + CkksParameters.AnswerBytes);
        }

        BigInteger[] opened = await holder.OpenAsync(bytes, queries);
        var secret = new BigInteger[N];
        for (int query = 0; query < queries; query++)
        {
            BigInteger rest = 2 * opened[query] > CkksRing.Q ? opened[query] - CkksRing.Q : opened[query];
            for (int t = 0, j = query * Digits; t < Digits && j < N; t++, j++)
            {
                int digit = (int)(((rest % 3) + 4) % 3) - 1; // -1, 0 or 1
                secret[j] = digit;
                rest = (rest - digit) / 3;
            }

            Assert.True(rest.IsZero, "a coefficient of the secret is not ternary, or was not opened exactly");
        }

        // A uniform ternary secret has as many of each, within six standard deviations of 43.
        Assert.All((int[])[-1, 0, 1], digit => Assert.InRange(secret.Count(s => s == digit), 2470, 2990));
        return secret;
    }

    /// <summary>A scheme whose key exists already and outlives the arbiter.</summary>
    private sealed class GivenKey(IAdditiveScheme inner, IKeyHolder holder) : IAdditiveScheme
    {
        public string Name => inner.Name;

        public string Engine => inner.Engine;

        public int SecurityBits => inner.SecurityBits;

        public int MostShares => inner.MostShares;

        public double SumError(int rows, double shareBound, double columnBound) => inner.SumError(rows, shareBound, columnBound);

        public Task<IKeyHolder> CreateKeyAsync(CancellationToken cancellationToken = default) => Task.FromResult<IKeyHolder>(new Kept(holder));

        public Task<IEncryptor> UseKeyAsync(ReadOnlyMemory<byte> publicKey, CancellationToken cancellationToken = default) => inner.UseKeyAsync(publicKey, cancellationToken);
    }

    private sealed class Kept(IKeyHolder holder) : IKeyHolder
    {
        public ReadOnlyMemory<byte> PublicKey => holder.PublicKey;

        public AnswerSpace Answers => holder.Answers;

        public Task<BigInteger[]> OpenAsync(ReadOnlyMemory<byte> masked, int count, CancellationToken cancellationToken = default) => holder.OpenAsync(masked, count, cancellationToken);

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
