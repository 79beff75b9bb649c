using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FedLearn.Privacy;

/// <summary>Randomised response over M classes: a label is kept with probability P, and becomes each other class with probability Q.</summary>
/// <remarks>
/// <para>Q is the smallest multiple of 2^-64 that is at least 1/(e^epsilon + M - 1), and P = 1 - (M - 1) Q, so that P/Q is at most e^epsilon: pure
/// epsilon-DP for the label, and for the whole row when nothing else of it is released (Warner 1965; Kairouz, Bonawitz and Ramage, arXiv 1602.07387).
/// Q is found by interval arithmetic in integers, and a draw compares one 64-bit word with it: no floating-point number takes part.</para>
/// <para>Labels are drawn once, written to the ledger with their charge, and leave from there: a later job sends the same ones free of charge,
/// where a second draw would cost epsilon again.</para>
/// </remarks>
public sealed class RandomizedResponse
{
    /// <summary>Classes at most: a class travels in a byte.</summary>
    public const int MostClasses = 256;

    /// <summary>e^45 is above 2^64: Q is 2^-64 from here on.</summary>
    private const double LargestEpsilon = 45;

    /// <summary>P - Q below 2^-40 is refused: the mean of every row's label would still drown in noise.</summary>
    private const ulong LeastGap = 1UL << 24;

    private readonly ulong _each, _gap;

    /// <summary>Creates the mechanism.</summary>
    /// <param name="epsilon">Privacy loss in nats. Finite, above 0.</param>
    /// <param name="classes">Number of declared classes M, 2 to 256.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: classes out of range; FL2301: epsilon out of range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5030: epsilon is so small that the labels would say nothing.</exception>
    public RandomizedResponse(double epsilon, int classes = 2)
    {
        if (!double.IsFinite(epsilon) || epsilon <= 0)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "epsilon", "it is not a finite number above 0.", "Give a finite epsilon above 0.");
        if (classes is < 2 or > MostClasses)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "classes", "it is not between 2 and 256.", "Give the number of declared classes.");
        (Epsilon, Classes) = (epsilon, classes);
        _each = Threshold(epsilon, classes);
        UInt128 total = (UInt128)_each * (uint)classes, all = (UInt128)ulong.MaxValue + 1;
        _gap = total < all ? (ulong)(all - total) : 0;
        if (_gap < LeastGap)
            throw PrivacyErrors.Refused(OneRoundErrors.LabelsSayNothing, "epsilon", "labels randomised with so small an epsilon say nothing.", "Raise epsilon; .1 is already a strong promise.");
    }

    /// <summary>Privacy loss in nats.</summary>
    public double Epsilon { get; }

    /// <summary>Number of classes M.</summary>
    public int Classes { get; }

    /// <summary>Q, the probability of each other class. Rounded to a double.</summary>
    public double OtherProbability => Math.ScaleB((double)_each, -64);

    /// <summary>1 - P = (M - 1) Q, the probability that a label becomes another class: for two classes that it is flipped. Rounded to a double.</summary>
    public double FlipProbability => (Classes - 1) * OtherProbability;

    /// <summary>P - Q, by which expectations shrink; above 0.</summary>
    public double Gap => Math.ScaleB((double)_gap, -64);

    /// <summary>P, the probability that a label is kept.</summary>
    public double KeepProbability => OtherProbability + Gap;

    /// <summary>Q as a multiple of 2^-64.</summary>
    internal ulong OtherWords => _each;

    /// <summary>An unbiased estimate of the indicator of a class from a randomised label: (1[z = m] - Q)/(P - Q).</summary>
    /// <param name="isClass">Whether the randomised label is the class.</param>
    public double Debias(bool isClass) => ((isClass ? 1 : 0) - OtherProbability) / Gap;

    /// <summary>Randomises labels. What comes out may leave only from the ledger, see <see cref="Release"/>.</summary>
    /// <param name="labels">Classes from 0, shape [n].</param>
    /// <param name="source">Where the bits come from.</param>
    /// <returns>Classes from 0, shape [n].</returns>
    /// <exception cref="ArgumentOutOfRangeException">A class is M or more.</exception>
    public byte[] Randomize(ReadOnlySpan<byte> labels, IUniformSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        byte[] drawn = new byte[labels.Length];
        ulong[] words = new ulong[labels.Length];
        source.Fill(words);
        ulong others = _each * (ulong)(Classes - 1);                            // below 2^64, since the gap is above 0
        for (int i = 0; i < drawn.Length; i++)
        {
            byte label = labels[i];
            // The error does not say which label it is: labels are private.
            if (label >= Classes)
                throw new ArgumentOutOfRangeException(nameof(labels), "A label is none of the classes.");
            if (words[i] >= others)
            {
                drawn[i] = label;
                continue;
            }

            byte other = (byte)(words[i] / _each);                              // 0 to M - 2: the classes other than the label
            drawn[i] = other < label ? other : (byte)(other + 1);
        }

        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(words.AsSpan()));
        return drawn;
    }

    /// <summary>Lets labels leave that the ledger has kept, with their charge, since they were drawn.</summary>
    /// <param name="ledger">The party's ledger.</param>
    /// <param name="party">The party.</param>
    /// <param name="key">Key they were kept under; names the table, its labels and this mechanism.</param>
    /// <param name="rows">Places of the rows to send among the kept ones.</param>
    /// <returns>One class a row.</returns>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5032: the ledger has kept nothing that fits.</exception>
    public Released<RandomizedLabels> Release(IPrivacyLedger ledger, string party, string key, ReadOnlySpan<int> rows)
    {
        ArgumentNullException.ThrowIfNull(ledger);
        if (ledger.Find(party, key) is not { } kept)
            throw NotKept();
        byte[] sent = new byte[rows.Length];
        for (int i = 0; i < sent.Length; i++)
        {
            if (rows[i] >= kept.Length || kept[rows[i]] >= Classes)
                throw NotKept();
            sent[i] = kept[rows[i]];
        }

        return new(new RandomizedLabels(sent), Protection.RandomizedResponse, "randomised labels");
    }

    internal static Diagnostics.PrivacyRefusedException NotKept() => PrivacyErrors.Refused(OneRoundErrors.LabelsNotKept, "ledger",
        "labels may leave only as the ledger has kept them, and it has kept none that fit.", "Use the ledger that the labels were charged to, undamaged.");

    /// <summary>The smallest whole number that is at least 2^64/(e^epsilon + M - 1).</summary>
    internal static ulong Threshold(double epsilon, int classes)
    {
        if (epsilon >= LargestEpsilon)
            return 1;
        for (int bits = 192; ; bits *= 2)
        {
            // e^epsilon is irrational for rational epsilon above 0, so bounds that are close enough agree.
            (BigInteger low, BigInteger high) = Exponential(epsilon, bits);
            BigInteger all = BigInteger.One << (64 + bits), others = (BigInteger)(classes - 1) << bits;
            BigInteger most = Ceiling(all, low + others), least = Ceiling(all, high + others);
            if (most == least)
                return (ulong)most;
        }
    }

    /// <summary>Bounds on e^x 2^bits, x a double above 0 and below 45.</summary>
    private static (BigInteger Low, BigInteger High) Exponential(double x, int bits)
    {
        // x = m 2^e exactly; then r = x 2^-halvings is below 2^-8, e^r is its Taylor series, and squaring it leads back.
        long bitsOfX = BitConverter.DoubleToInt64Bits(x), m = (bitsOfX & ((1L << 52) - 1)) | (double.IsNormal(x) ? 1L << 52 : 0);
        int e = Math.Max(1, (int)(bitsOfX >> 52)) - 1075;
        int halvings = Math.Max(0, Math.ILogB(x) + 9), guard = 128 + 2 * halvings, work = bits + guard, shift = work - halvings + e;
        BigInteger low = shift >= 0 ? (BigInteger)m << shift : (BigInteger)m >> -shift, high = shift >= 0 ? low : low + 1;
        BigInteger one = BigInteger.One << work, sumLow = one, sumHigh = one, termLow = one, termHigh = one;
        for (int i = 1; termHigh > 1; i++)
        {
            termLow = ((termLow * low) >> work) / i;
            termHigh = Ceiling((termHigh * high) >> work, i) + 1;
            (sumLow, sumHigh) = (sumLow + termLow, sumHigh + termHigh);
        }

        sumHigh += 1;                                                           // what is left of the series is below its last term
        for (int i = 0; i < halvings; i++)
            (sumLow, sumHigh) = ((sumLow * sumLow) >> work, ((sumHigh * sumHigh) >> work) + 1);
        return (sumLow >> guard, (sumHigh >> guard) + 1);
    }

    private static BigInteger Ceiling(BigInteger numerator, BigInteger denominator) => (numerator + denominator - 1) / denominator;
}
