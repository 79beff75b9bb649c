using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>A family of classes whose loss is linear in the label, so that its mean over the randomised response is the loss of the true label.</summary>
/// <param name="family">The family of true labels.</param>
/// <remarks>Everything but residuals and losses is the family's own: second derivatives do not depend on the label.</remarks>
internal abstract class DebiasedFamily(IGlmFamily family) : IGlmFamily
{
    public string Name => family.Name;

    public string Link => family.Link;

    public int Outputs => family.Outputs;

    public GlmFamilyBounds? Bounds => family.Bounds;

    /// <summary>The family of a job in mode label-dp; the job's own where it is not legal there, for which checks have words.</summary>
    public static IGlmFamily Of(GlmJob job) => job.Model.Family switch
    {
        MultinomialFamily { Classes: not null } when job.Parties.Any(p => p.Party.Role == Coordination.PartyRole.Active && (p.Budget ?? job.Privacy.Budget) is not null)
            => new DebiasedClasses(job.Model.Family, LabelRelease.ResponseOf(job)),
        { } binomial when binomial.Kind() == GlmFamilyKind.Binomial => new DebiasedBinomial(),
        var other => other,
    };

    public string? LabelFault(double label) => family.LabelFault(label);

    public double Canonical(double label) => family.Canonical(label);

    public abstract void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals);

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures) => family.Information(scores, curvatures);

    public void Information(ReadOnlySpan<double> scores, Span<double> information) => family.Information(scores, information);

    void IGlmFamily.CurvatureTimes(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, ReadOnlySpan<double> vectors, Span<double> products) =>
        family.CurvatureTimes(scores, labels, vectors, products);

    public abstract double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels);

    public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => 2 * LossSum(scores, labels);

    public void Means(ReadOnlySpan<double> scores, Span<double> means) => family.Means(scores, means);

    public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start) => start.Clear();
}

// r = sigmoid(z) - y, loss log(1 + e^z) - y z, for labels y outside [0, 1]
internal sealed class DebiasedBinomial() : DebiasedFamily(GlmFamilies.Binomial)
{
    private static readonly double[] Zeros = new double[GlmFamilies.Block];

    public override void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        if (scores.IsEmpty)
            return;                                                                                     // Sigmoid refuses an empty span
        TensorPrimitives.Sigmoid(scores, residuals);
        TensorPrimitives.Subtract(residuals[..scores.Length], labels, residuals);
    }

    public override double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        double sum = 0;
        for (int start = 0; start < scores.Length; start += Zeros.Length)
        {
            ReadOnlySpan<double> block = scores.Slice(start, Math.Min(Zeros.Length, scores.Length - start));
            sum += GlmFamilies.Binomial.LossSum(block, Zeros.AsSpan(0, block.Length));
        }

        return sum - TensorPrimitives.Dot(scores, labels);
    }
}

// With t_m = (1[z = m] - Q)/(P - Q), which add up to 1: r = softmax(z) - t, loss log sum e^z - t.z. Labels are the released classes.
internal sealed class DebiasedClasses(IGlmFamily family, RandomizedResponse response) : DebiasedFamily(family)
{
    public override void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        Means(scores, residuals);
        (double no, double yes) = (response.Debias(false), response.Debias(true));
        for (int m = 0, b = labels.Length; m < Outputs; m++)
            for (int i = 0; i < b; i++)
                residuals[m * b + i] -= labels[i] == m ? yes : no;
    }

    // The loss of the released class plus what the debiased indicators differ from its indicator by, times the scores.
    public override double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        double sum = GlmFamilies.Multinomial(Outputs).LossSum(scores, labels);
        (double no, double yes) = (response.Debias(false), response.Debias(true));
        for (int m = 0, b = labels.Length; m < Outputs; m++)
            for (int i = 0; i < b; i++)
                sum -= scores[m * b + i] * (labels[i] == m ? yes - 1 : no);
        return sum;
    }
}
