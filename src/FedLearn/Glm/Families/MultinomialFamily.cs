using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Glm;

// With p = softmax(z): r = p - e_y, H = diag(p) - p p'
internal sealed class MultinomialFamily(int? classes) : IGlmFamily
{
    public string Name => "multinomial";

    public string Link => "softmax";

    /// <summary>Number of classes; null while it is not known: then only names and labels can be asked for.</summary>
    public int? Classes => classes;

    public IReadOnlyDictionary<string, double> Parameters { get; } =
        classes is { } known ? new Dictionary<string, double> { ["classes"] = known } : new Dictionary<string, double>();

    public int Outputs => classes ?? throw new InvalidOperationException("The number of classes is not known yet.");

    public GlmFamilyBounds Bounds { get; } = new(GlmFamilyKind.Multinomial);

    public string? LabelFault(double label) => label == Math.Floor(label) && label >= 0 && label < (classes ?? RandomizedResponse.MostClasses) ? null
        : classes is null ? $"a multinomial label is a whole number from 0 to {RandomizedResponse.MostClasses - 1}."
        : $"a multinomial label is a whole number from 0 to model.classes - 1 = {classes - 1}.";

    public double Canonical(double label) => label;

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        Softmax(scores, residuals);
        for (int i = 0, b = Rows(scores, labels); i < b; i++)
            residuals[(int)labels[i] * b + i] -= 1;
    }

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
    {
        Rows(scores, labels);
        Information(scores, curvatures);
    }

    public void Information(ReadOnlySpan<double> scores, Span<double> information)
    {
        int k = Outputs, b = scores.Length / k;
        double[] p = new double[scores.Length];
        Softmax(scores, p);
        for (int m = 0; m < k; m++)
            for (int l = 0; l < k; l++)
            {
                Span<double> entry = information.Slice((m * k + l) * b, b);
                TensorPrimitives.Multiply(p.AsSpan(m * b, b), p.AsSpan(l * b, b), entry);
                TensorPrimitives.Negate(entry, entry);
                if (m == l)
                    TensorPrimitives.Add(entry, p.AsSpan(m * b, b), entry);
            }
    }

    // H a = p (a - p.a)
    void IGlmFamily.CurvatureTimes(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, ReadOnlySpan<double> vectors, Span<double> products)
    {
        int k = Outputs, b = Rows(scores, labels);
        Softmax(scores, products);
        double[] means = new double[b], distances = new double[b];
        for (int m = 0; m < k; m++)
            TensorPrimitives.MultiplyAdd(products.Slice(m * b, b), vectors.Slice(m * b, b), means, means);
        for (int m = 0; m < k; m++)
        {
            Span<double> product = products.Slice(m * b, b);
            TensorPrimitives.Subtract(vectors.Slice(m * b, b), means, distances);
            TensorPrimitives.Multiply(product, distances, product);
        }
    }

    // log sum e^z - z_y
    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        int b = Rows(scores, labels);
        double[] exponentials = new double[scores.Length], largest = new double[b], sums = new double[b];
        Exponentials(scores, exponentials, largest, sums);
        double sum = 0;
        for (int i = 0; i < b; i++)
            sum += Math.Log(sums[i]) + largest[i] - scores[(int)labels[i] * b + i];
        return sum;
    }

    // The saturated model of a class has no loss.
    public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => 2 * LossSum(scores, labels);

    // One row at a time: a vector's exponential may differ in its last bit, and a prediction must not depend on how many are made.
    public void Means(ReadOnlySpan<double> scores, Span<double> means)
    {
        int k = Outputs, b = scores.Length / k;
        for (int i = 0; i < b; i++)
        {
            double largest = scores[i], sum = 0;
            for (int m = 1; m < k; m++)
                largest = Math.Max(largest, scores[m * b + i]);
            for (int m = 0; m < k; m++)
                sum += means[m * b + i] = Math.Exp(scores[m * b + i] - largest);
            for (int m = 0; m < k; m++)
                means[m * b + i] /= sum;
        }
    }

    private void Softmax(ReadOnlySpan<double> scores, Span<double> means)
    {
        int k = Outputs, b = scores.Length / k;
        double[] largest = new double[b], sums = new double[b];
        Exponentials(scores, means, largest, sums);
        for (int m = 0; m < k; m++)
            TensorPrimitives.Divide(means.Slice(m * b, b), sums, means.Slice(m * b, b));
    }

    // Log shares, less their mean: softmax does not know a shift. A class without rows counts as half a row.
    public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start)
    {
        start.Clear();
        for (int i = 0; i < labels.Length; i++)
            start[(int)labels[i]] += weights.IsEmpty ? 1 : weights[i];
        double total = TensorPrimitives.Sum<double>(start);
        for (int m = 0; m < start.Length; m++)
            start[m] = Math.Log(Math.Max(start[m] / total, .5 / labels.Length));
        TensorPrimitives.Subtract(start, TensorPrimitives.Sum<double>(start) / start.Length, start);
    }

    /// <summary>e^(z - max) of every entry, with the largest score and the sum of each row.</summary>
    private void Exponentials(ReadOnlySpan<double> scores, Span<double> exponentials, Span<double> largest, Span<double> sums)
    {
        int k = Outputs, b = largest.Length;
        scores[..b].CopyTo(largest);
        for (int m = 1; m < k; m++)
            TensorPrimitives.Max(largest, scores.Slice(m * b, b), largest);
        sums.Clear();
        for (int m = 0; m < k; m++)
        {
            Span<double> e = exponentials.Slice(m * b, b);
            TensorPrimitives.Subtract(scores.Slice(m * b, b), largest, e);
            TensorPrimitives.Exp(e, e);
            TensorPrimitives.Add(sums, e, sums);
        }
    }

    private int Rows(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length * Outputs, scores.Length, nameof(labels));
        return labels.Length;
    }
}
