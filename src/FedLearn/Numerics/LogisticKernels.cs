using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FedLearn.Numerics;

/// <summary>Residuals and losses of the logistic model, for labels 0 and 1. Every product that is added to is fused, so that bits depend neither on the width of vectors nor on when a method
/// was compiled, see <see cref="MatrixKernels.Exp"/>.</summary>
internal static class LogisticKernels
{
    /// <summary>r = sigmoid(z) - y.</summary>
    /// <remarks>With s = 1 - 2y it is s sigmoid(s z): one sigmoid, and none of the cancellation of sigmoid(z) - 1 where the model is right.</remarks>
    public static void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals) => Run(scores, labels, residuals, wantsLoss: false);

    /// <summary>Sum of log(1 + e^t), t = (1 - 2y) z.</summary>
    public static double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => Run(scores, labels, default, wantsLoss: true);

    /// <summary>Both, with one exponential a row.</summary>
    public static double ResidualsAndLoss(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals) => Run(scores, labels, residuals, wantsLoss: true);

    // 64 factors of at most 2 in each lane: far from overflow.
    private const int ProductRows = 512;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double Run(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals, bool wantsLoss)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        bool wantsResiduals = !residuals.IsEmpty;
        if (wantsResiduals)
            ArgumentOutOfRangeException.ThrowIfLessThan(residuals.Length, scores.Length);
        ref double z = ref MemoryMarshal.GetReference(scores), y = ref MemoryMarshal.GetReference(labels), r = ref MemoryMarshal.GetReference(residuals);
        // One logarithm serves many rows: product is (1 + e_1) (1 + e_2) ... - 1, which keeps what an e below 1e-16 adds.
        Vector512<double> sum = default, product = default;
        int i = 0;
        for (; i + 8 <= scores.Length; i += 8)
        {
            Vector512<double> s = Signs(Vector512.LoadUnsafe(ref y, (nuint)i)), t = s * Vector512.LoadUnsafe(ref z, (nuint)i), e = MatrixKernels.Exp(-Vector512.Abs(t));
            if (wantsResiduals)
                Residual(s, t, e).StoreUnsafe(ref r, (nuint)i);
            if (wantsLoss)
            {
                sum += Positive(t);
                product = Vector512.FusedMultiplyAdd(product, e, product + e);
                if (i % ProductRows == ProductRows - 8)
                    (sum, product) = (sum + LogOnePlus(product), default);
            }
        }

        if (i < scores.Length)
        {
            // What stands in for rows that are not there has no loss.
            Span<double> rest = stackalloc double[8], signs = stackalloc double[8];
            rest.Fill(double.NegativeInfinity);
            signs.Fill(1);
            for (int j = i; j < scores.Length; j++)
            {
                signs[j - i] = 1 - 2 * labels[j];
                rest[j - i] = signs[j - i] * scores[j];
            }

            Vector512<double> t = Vector512.Create<double>(rest), e = MatrixKernels.Exp(-Vector512.Abs(t));
            sum += Positive(t);
            product = Vector512.FusedMultiplyAdd(product, e, product + e);
            if (wantsResiduals)
            {
                Residual(Vector512.Create<double>(signs), t, e).CopyTo(rest);
                rest[..(scores.Length - i)].CopyTo(residuals[i..]);
            }
        }

        return wantsLoss ? MatrixKernels.Across(sum + LogOnePlus(product)) : 0;
    }

    // 1 - 2y, exact.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> Signs(Vector512<double> y) => Vector512.FusedMultiplyAdd(y, Vector512.Create(-2.0), Vector512<double>.One);

    // s sigmoid(t), with e = e^-|t|, which cannot overflow.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> Residual(Vector512<double> s, Vector512<double> t, Vector512<double> e) =>
        s * (Vector512.ConditionalSelect(Vector512.LessThan(t, Vector512<double>.Zero), e, Vector512<double>.One) / (Vector512<double>.One + e));

    // log(1 + e^t) = max(t, 0) + log(1 + e). A NaN stays one: it is not below 0.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> Positive(Vector512<double> t) => Vector512.ConditionalSelect(Vector512.LessThan(t, Vector512<double>.Zero), Vector512<double>.Zero, t);

    // log(1 + p) for 0 <= p < 2^512: with 1 + p = 2^k m it is k ln 2 + log m. With f = m - 1, which is p itself below 1, and u = f/(2 + f), at most 1/3, log m = 2 artanh u = 2 (u + u^3/3 + ...); what is left
    // out after u^33/33 is below 2e-18.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static Vector512<double> LogOnePlus(Vector512<double> p)
    {
        Vector512<long> bits = Vector512.AsInt64(Vector512<double>.One + p), k = Vector512.ShiftRightLogical(bits, 52) - Vector512.Create(1023L);
        Vector512<double> m = Vector512.AsDouble((bits & Vector512.Create((1L << 52) - 1)) | Vector512.Create(1023L << 52));
        Vector512<double> f = Vector512.ConditionalSelect(Vector512.AsDouble(Vector512.Equals(k, Vector512<long>.Zero)), p, m - Vector512<double>.One);
        Vector512<double> u = f / (f + Vector512.Create(2.0)), v = u * u, sum = Vector512.Create(1 / 33.0);
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 31.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 29.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 27.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 25.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 23.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 21.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 19.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 17.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 15.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 13.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 11.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 9.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 7.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 5.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512.Create(1 / 3.0));
        sum = Vector512.FusedMultiplyAdd(sum, v, Vector512<double>.One);
        return Vector512.FusedMultiplyAdd(sum, u + u, Vector512.ConvertToDouble(k) * Vector512.Create(0.69314718055994531));
    }
}
