using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Glm;
using FedLearn.Numerics;

namespace FedLearn.Tests.Numerics;

public class DenseKernelsTests
{
    private static float[] Singles(int seed, int count)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() - .5) * Math.Pow(10, random.Next(-3, 4))))];
    }

    private static double[] Doubles(int seed, int count)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (random.NextDouble() - .5) * Math.Pow(10, random.Next(-3, 4)))];
    }

    private static IEnumerable<FeatureRows> Kinds(int rows, int columns, int seed)
    {
        float[] cells = Singles(seed, rows * columns);
        double[] wide = Array.ConvertAll(cells, cell => (double)cell);
        yield return new DenseRows(new DenseMatrix(rows, columns, wide));
        yield return new SingleRows(rows, columns, cells);
        foreach (bool single in new[] { false, true })
        {
            yield return MappedRows.Create(Path.GetTempPath(), rows, columns, single, scatter =>
            {
                for (int i = rows - 1; i >= 0; i--)
                {
                    if (single)
                        scatter.Add<float>(i, cells.AsSpan(i * columns, columns));
                    else
                        scatter.Add<double>(i, wide.AsSpan(i * columns, columns));
                }
            });
        }
    }

    // Around groups of 4 rows, blocks of 256 and vectors of 8 columns; the last two share blocks of rows between threads, in one and in two sub-blocks a block.
    public static TheoryData<int, int> Shapes
    {
        get
        {
            TheoryData<int, int> shapes = new() { { 0, 5 }, { 1, 1 }, { 3, 8 }, { 255, 7 }, { 257, 9 }, { 1030, 50 }, { 40_000, 10 } };
            // Every number of vectors that has passes of its own, whole and not, and the first beyond.
            foreach (int columns in Enumerable.Range(1, 16).SelectMany(vectors => new[] { 8 * vectors, 8 * vectors + 1, 8 * vectors + 7 }))
                shapes.Add(columns % 2 == 0 ? 261 : 6, columns);
            return shapes;
        }
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Rows_EveryStorage_SameBitsAsScalarReference(int rows, int columns)
    {
        int start = Math.Min(1, rows), b = rows - start;
        double[] weights = Doubles(2, columns), residuals = Doubles(3, b), cells = new double[columns];
        double[] scores = new double[b], gradient = new double[columns];
        bool first = true;
        foreach (FeatureRows x in Kinds(rows, columns, 1))
        {
            if (first)
            {
                Reference(x, start, weights, residuals, scores, gradient);
                first = false;
            }

            double[] z = new double[b], g = Doubles(4, columns);
            x.Scores(start, weights, z);
            x.Gradient(start, residuals, g);
            Assert.Equal(scores, z);
            Assert.Equal(gradient, g);

            // Both passes in one: residuals by way of the callback, which sees every row once.
            double[] fusedScores = new double[b], fusedResiduals = new double[b], fusedGradient = Doubles(5, columns);
            var blocks = new Given(residuals);
            x.ScoresAndGradient(start, weights, fusedScores, blocks, fusedResiduals, fusedGradient);
            Assert.Equal(scores, fusedScores);
            Assert.Equal(residuals, fusedResiduals);
            Assert.Equal(gradient, fusedGradient);
            Assert.Equal(b, blocks.Rows);

            for (int i = 0; i < Math.Min(rows, 3); i++)
            {
                x.CopyRow(i, cells);
                Assert.Equal(Math.Sqrt(cells.Sum(c => c * c)), x.Length(i), 1e-12 * x.Length(i));
            }
        }
    }

    /// <summary>The order of <see cref="DenseKernels"/>, without vectors or threads.</summary>
    private static void Reference(FeatureRows x, int start, double[] weights, double[] residuals, double[] scores, double[] gradient)
    {
        int columns = weights.Length, whole = columns / 8 * 8, b = scores.Length, size = 256 * Math.Max(1, (b + 64 * 256 - 1) / (64 * 256));
        double[] row = new double[columns];
        for (int first = 0; first < b; first += size)
        {
            double[] partial = new double[columns];
            for (int i = first; i < Math.Min(b, first + size); i++)
            {
                x.CopyRow(start + i, row);
                double[] s = new double[8];
                for (int j = 0; j < whole; j++)
                    s[j % 8] = Math.FusedMultiplyAdd(row[j], weights[j], s[j % 8]);
                double sum = (s[0] + s[4] + (s[2] + s[6])) + (s[1] + s[5] + (s[3] + s[7]));
                for (int j = whole; j < columns; j++)
                    sum = Math.FusedMultiplyAdd(row[j], weights[j], sum);
                scores[i] = sum;
                for (int j = 0; j < columns; j++)
                    partial[j] = Math.FusedMultiplyAdd(row[j], residuals[i], partial[j]);
            }

            for (int j = 0; j < columns; j++)
                gradient[j] += partial[j];
        }
    }

    /// <summary>A score passes through the products of one of eight chains, three sums of pairs and the rest of the columns; an entry of a gradient through the rows of a block and the sums of sixteen blocks.</summary>
    [Fact]
    public void Roundings_AnyWidth_CoverTheLongestChain()
    {
        for (int columns = 0; columns < 300; columns++)
        {
            (double score, double gradient) = DenseKernels.Roundings(columns);
            Assert.True(score >= columns / 8 + 3 + columns % 8, $"{columns} columns");
            Assert.True(gradient >= DenseKernels.BlockRows + NewtonSolver.ChunkRows / DenseKernels.BlockRows);
        }
    }

    private sealed class Given(double[] residuals) : IResidualBlocks
    {
        private int _rows;

        public int Rows => _rows;

        public void Fill(int first, Span<double> scores, Span<double> filled)
        {
            Assert.Equal(0, first % IResidualBlocks.MostRows);
            residuals.AsSpan(first, filled.Length).CopyTo(filled);
            Interlocked.Add(ref _rows, scores.Length);
        }
    }

    [Fact]
    public void ScoresAndGradient_CallbackThrows_ThrowsAndWorksAfterwards()
    {
        var x = new DenseRows(new DenseMatrix(20_000, 8, Doubles(1, 160_000)));
        double[] weights = Doubles(2, 8), scores = new double[20_000], residuals = new double[20_000], gradient = new double[8], again = new double[20_000];
        Assert.Throws<InvalidOperationException>(() => x.ScoresAndGradient(0, weights, scores, new Failing(), residuals, gradient));
        x.Scores(0, weights, again);
        double[] alone = new double[1];
        x.Scores(19_999, weights, alone);
        Assert.Equal(alone[0], again[^1]);
    }

    private sealed class Failing : IResidualBlocks
    {
        public void Fill(int first, Span<double> scores, Span<double> residuals) => throw new InvalidOperationException("no residuals");
    }

    [Theory]
    [InlineData(0, 1, 700)]
    [InlineData(0, 0, 700)]
    [InlineData(800, 1, 800)]
    [InlineData(-40, 0, 40)]
    public void LogisticLoss_LargeScores_NeitherOverflowsNorCancels(double score, double label, double scale)
    {
        double t = (1 - 2 * label) * score, expected = Math.Max(t, 0) + (Math.Abs(t) > 36 ? Math.Exp(-Math.Abs(t)) : Math.Log(1 + Math.Exp(-Math.Abs(t))));
        double[] scores = [score, score, score, score, score, score, score, score, score], labels = [.. scores.Select(_ => label)];
        Assert.Equal(9 * expected, LogisticKernels.LossSum(scores, labels), 1e-15 * scale);
    }

    [Fact]
    public void Logistic_NaN_StaysNaN()
    {
        double[] residuals = new double[11], scores = new double[11];
        scores[2] = scores[9] = double.NaN;
        Assert.True(double.IsNaN(LogisticKernels.ResidualsAndLoss(scores, new double[11], residuals)));
        Assert.Equal([2, 9], Enumerable.Range(0, 11).Where(i => double.IsNaN(residuals[i])));
    }

    // SHA-256 over the bits of scores, gradients, residuals and losses; made once with 512-bit vectors. The same on every machine, width of vectors and number of threads.
    private const string Bits = "1d2088e66575ab2f466a916b4ccb00d18fa3a839ffe41a939f5c8a8b2b501407";

    [Fact]
    public void Kernels_FixedInput_GiveTheSameBitsOnEveryMachine() => Assert.Equal(Bits, Digest());

    private static string Digest()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((int rows, int columns) in new[] { (5, 3), (1030, 50), (20_000, 13) })
        {
            var random = new Random(rows);
            float[] cells = [.. Enumerable.Range(0, rows * columns).Select(_ => (float)(random.NextDouble() - .5))];
            double[] weights = [.. Enumerable.Range(0, columns).Select(_ => 8 * (random.NextDouble() - .5))], labels = [.. Enumerable.Range(0, rows).Select(_ => (double)random.Next(2))];
            foreach (FeatureRows x in new FeatureRows[] { new SingleRows(rows, columns, cells), new DenseRows(new DenseMatrix(rows, columns, Array.ConvertAll(cells, c => c / 3.0))) })
            {
                double[] scores = new double[rows], residuals = new double[rows], gradient = new double[columns];
                x.Scores(0, weights, scores);
                GlmFamilies.Binomial.Residuals(scores, labels, residuals);
                x.Gradient(0, residuals, gradient);
                foreach (double[] values in new[] { scores, residuals, gradient, [GlmFamilies.Binomial.LossSum(scores, labels), MatrixKernels.Sum(residuals)] })
                    hash.AppendData(MemoryMarshal.AsBytes<double>(values));
            }
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    [Theory]
    [InlineData("DOTNET_EnableAVX512", "0")]
    [InlineData("DOTNET_EnableAVX2", "0")]
    [InlineData("DOTNET_EnableHWIntrinsic", "0")]
    [InlineData("DOTNET_PROCESSOR_COUNT", "1")]
    public void Kernels_OtherVectorsOrThreads_SameBits(string variable, string value)
    {
        // This process again: its own executable, or that of the runtime with the assembly.
        string program = Environment.ProcessPath!;
        string[] assembly = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [typeof(DenseKernelsTests).Assembly.Location] : [];
        string[] tests = [$"*{nameof(Kernels_FixedInput_GiveTheSameBitsOnEveryMachine)}", $"*{nameof(Rows_EveryStorage_SameBitsAsScalarReference)}*"];
        var start = new ProcessStartInfo(program, [.. assembly, "-noLogo", .. tests.SelectMany(test => new[] { "-method", test })]) { RedirectStandardOutput = true, Environment = { [variable] = value } };
        using Process child = Process.Start(start)!;
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        Assert.True(child.ExitCode == 0, output);
        Assert.Matches("Total: [1-9]", output);
    }
}
