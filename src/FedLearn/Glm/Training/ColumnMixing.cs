using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Data;
using FedLearn.Diagnostics;
using MathNet.Numerics.LinearAlgebra;
using MathNet.Numerics.LinearAlgebra.Factorization;

namespace FedLearn.Glm;

/// <summary>How a passive party mixes its columns before the active party may compute with them: X T, T secret, so that no column crosses.</summary>
/// <remarks>
/// <para>With a penalty T is a random rotation: w = T gamma has the length of gamma, so that the joint problem is the same. What the active party can learn is X up to
/// a rotation: lengths and inner products of rows, which the directions and inner products of L-BFGS tell it as well after d iterations. Of more columns than rows T
/// is a random basis of the space that the rows span: the best weights have no part outside of it.</para>
/// <para>Without a penalty T is a whitening followed by a random rotation: X T is a random one of the orthonormal bases of the space that the columns
/// span, times sqrt(n), and tells that space and nothing else.</para>
/// <para>Who knows the features of as many rows as there are columns can undo either. The rotation is drawn from a digest of the columns themselves, so
/// that a job gives the same bits in every run; it is as secret as they are.</para>
/// </remarks>
internal sealed class ColumnMixing
{
    /// <summary>Smallest eigenvalue, relative to the largest, of columns of equal length that count as independent.</summary>
    private const double Independent = 1e-11;

    private readonly Matrix<double> _mixing;

    private ColumnMixing(Matrix<double> mixing) => _mixing = mixing;

    /// <summary>Number of mixed columns.</summary>
    public int Count => _mixing.ColumnCount;

    /// <summary>The mixing that a penalty allows.</summary>
    /// <param name="part">The party's rows, one score, no intercept.</param>
    /// <param name="penalised">Whether there is a quadratic penalty.</param>
    /// <param name="needsAll">Whether all columns have to be independent; otherwise as many directions are sent as are independent.</param>
    /// <returns>The mixing; null where all columns have to be independent, and one is a combination of the others: then those that such combinations are made of.</returns>
    public static (ColumnMixing? Mixing, int[] Dependent) Of(LinearPart part, bool penalised, bool needsAll)
    {
        int d = part.Features, n = part.Rows;
        double[] row = new double[d];
        Matrix<double>? transposed = penalised && d > n ? Matrix<double>.Build.Dense(d, n) : null;
        using var digest = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (int i = 0; i < n; i++)
        {
            part.CopyRow(i, row);
            digest.AppendData(MemoryMarshal.AsBytes<double>(row));
            transposed?.SetColumn(i, row);
        }

        byte[] key = digest.GetHashAndReset();
        if (penalised)
            return (new(transposed is null ? Rotation(d, key) : transposed.QR(QRMethod.Thin).Q * Rotation(n, key)), []);

        Matrix<double> gram = Matrix<double>.Build.Dense(d, d);
        double[] column = new double[n], inner = new double[d], unit = new double[d];
        for (int j = 0; j < d; j++)
        {
            unit.AsSpan().Clear();
            unit[j] = 1;
            part.Scores(0, unit, column);
            part.Gradient(0, column, inner);
            for (int k = 0; k < d; k++)
                gram[j, k] = inner[k] / n;
        }

        // Columns of length 1 first, so that units do not decide what is dependent.
        double[] scale = [.. Enumerable.Range(0, d).Select(j => gram[j, j] > 0 ? 1 / Math.Sqrt(gram[j, j]) : 0)];
        Matrix<double> scaled = Matrix<double>.Build.Dense(d, d, (j, k) => (gram[j, k] + gram[k, j]) / 2 * scale[j] * scale[k]);
        var eigen = scaled.Evd(Symmetricity.Symmetric);
        double[] values = [.. eigen.EigenValues.Select(v => v.Real)];
        double least = Independent * Math.Max(1, values[^1]);
        int[] kept = [.. Enumerable.Range(0, d).Where(j => values[j] > least)];
        if (needsAll && kept.Length < d)
            return (null, Involved(eigen, least));
        Matrix<double> whitening = Matrix<double>.Build.Dense(d, kept.Length, (j, k) => scale[j] * eigen.EigenVectors[j, kept[k]] / Math.Sqrt(values[kept[k]]));
        return (new(whitening * Rotation(kept.Length, key)), []);
    }

    /// <summary>The columns that combinations of next to nothing are made of.</summary>
    /// <param name="eigen">Of the products of columns of length 1.</param>
    /// <param name="most">Largest eigenvalue of such a combination.</param>
    public static int[] Involved(Evd<double> eigen, double most)
    {
        int[] vectors = [.. Enumerable.Range(0, eigen.EigenValues.Count).Where(k => eigen.EigenValues[k].Real <= most)];
        // A rare category's share in the sum of a field is the root of its share of the rows; what rounding leaves of another column is far below.
        return [.. Enumerable.Range(0, eigen.EigenVectors.RowCount).Where(j => vectors.Any(k => Math.Abs(eigen.EigenVectors[j, k]) > 1e-4))];
    }

    /// <summary>The error for a party's columns that say the same, before anything is trained.</summary>
    /// <param name="zeros">Those that have the same value in all training rows.</param>
    /// <param name="dependent">Those that combinations are made of, listed.</param>
    public static BadInputException Dependent(List<string> zeros, string dependent) => zeros.Count > 0
        ? new(GlmErrors.DependentColumns, $"the party's columns over its training rows, {FeatureMap.Listed(zeros, 10)}",
            "such a column has the same value in all of them, so that standard errors are not defined.",
            "Write a value of a category that no training row has as another one, and take it out of the schema; or set model.l2 above 0, or evaluation.inference to false.")
        : new(GlmErrors.DependentColumns, $"the party's columns over its training rows, {dependent}", "one is a linear combination of the others, so that their standard errors are not defined.",
            "Leave one out of each group that adds up to a constant (one column of every one-hot field, where there is an intercept), or set model.l2 above 0.");

    /// <summary>Weights of the party's own columns that give a mixed one.</summary>
    public double[] Direction(int column) => _mixing.Column(column).ToArray();

    /// <summary>Weights of the party's own columns from those of the mixed ones.</summary>
    public double[] Weights(ReadOnlySpan<double> mixed) => (_mixing * Vector<double>.Build.DenseOfArray(mixed.ToArray())).ToArray();

    /// <summary>Variances of the party's own weights from the covariance of the mixed ones, row-major.</summary>
    public double[] Variances(ReadOnlySpan<double> covariance)
    {
        Matrix<double> block = Matrix<double>.Build.DenseOfRowMajor(Count, Count, covariance.ToArray());
        return [.. (_mixing * block).EnumerateRows().Zip(_mixing.EnumerateRows(), (left, right) => left.DotProduct(right))];
    }

    /// <summary>A rotation drawn uniformly (Haar): the orthogonal factor of normal numbers, signs fixed (Stewart 1980).</summary>
    private static Matrix<double> Rotation(int size, byte[] key)
    {
        if (size == 0)
            return Matrix<double>.Build.Dense(0, 0);
        var normals = new NormalNumbers(key);
        var factors = Matrix<double>.Build.Dense(size, size, (_, _) => normals.Next()).QR();
        return factors.Q * Matrix<double>.Build.DenseOfDiagonalArray([.. factors.R.Diagonal().Select(v => v < 0 ? -1.0 : 1)]);
    }

    /// <summary>Normal numbers from SHA-256 in counter mode, by Box and Muller's transform. They hide columns; no privacy claim rests on them.</summary>
    private sealed class NormalNumbers(byte[] key)
    {
        private readonly byte[] _block = [.. key, .. new byte[sizeof(long)]];
        private readonly Queue<double> _ready = new();
        private long _counter;

        public double Next()
        {
            if (_ready.Count == 0)
            {
                BinaryPrimitives.WriteInt64LittleEndian(_block.AsSpan(key.Length), _counter++);
                Span<byte> bits = stackalloc byte[SHA256.HashSizeInBytes];
                SHA256.HashData(_block, bits);
                for (int i = 0; i < bits.Length; i += 16)
                {
                    double radius = Math.Sqrt(-2 * Math.Log(Uniform(bits[i..]))), angle = 2 * Math.PI * Uniform(bits[(i + 8)..]);
                    _ready.Enqueue(radius * Math.Cos(angle));
                    _ready.Enqueue(radius * Math.Sin(angle));
                }
            }

            return _ready.Dequeue();
        }

        private static double Uniform(ReadOnlySpan<byte> bits) => ((BinaryPrimitives.ReadUInt64LittleEndian(bits) >> 11) + .5) / (1L << 53);
    }
}
