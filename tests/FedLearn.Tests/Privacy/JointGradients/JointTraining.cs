using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy.JointGradients;

/// <summary>What a mutant of <see cref="JointTraining"/> breaks.</summary>
internal enum JointMutant
{
    None,

    /// <summary>Weights are not projected (A2).</summary>
    NoProjection,

    /// <summary>Rows are not clipped (A1).</summary>
    UnboundedRows,

    /// <summary>A gradient is divided by the number of rows whose first number is above 0 (A4).</summary>
    ActualCountDivisor,
}

/// <summary>What one person has: a row at each party, and a label.</summary>
internal sealed record JointPerson(double[][] Rows, double Label);

/// <summary>A plain trainer of all parties with what is encrypted in the clear: slow, and a second implementation of what the proof speaks of.</summary>
internal sealed class JointTraining(JointGradientParameters p, int rows, double stepSize, double l2 = 0, JointMutant mutant = JointMutant.None)
{
    public BatchLayout Layout { get; } = new(rows, p.Batches);

    /// <summary>The rows as a party uses them: at most 1 long.</summary>
    public JointPerson[] Prepare(JointPerson[] people) => [.. people.Select(person => person with { Rows = [.. person.Rows.Select(Clip)] })];

    /// <summary>Mean gradients of all parties, one after the other, of a batch of prepared rows.</summary>
    public double[] MeanGradients(JointPerson[] people, int batch, double[][] weights)
    {
        ReadOnlySpan<JointPerson> rows = people.AsSpan(Layout.Start(batch), Layout.Size(batch));
        bool taylor = p.Family == GlmFamilyKind.Binomial;
        var sums = new double[weights.Sum(w => w.Length)];
        int counted = 0;
        foreach (JointPerson person in rows)
        {
            double score = 0;
            for (int party = 0; party < weights.Length; party++)
                score += Dot(person.Rows[party], weights[party]);
            double residual = taylor ? score / 4 - person.Label / 2 : score - person.Label;
            int at = 0;
            foreach (double[] row in person.Rows)
                foreach (double x in row)
                    sums[at++] += residual * x;
            counted += person.Rows[0][0] > 0 ? 1 : 0;
        }

        double divisor = mutant == JointMutant.ActualCountDivisor ? Math.Max(1, counted) : rows.Length;
        for (int j = 0; j < sums.Length; j++)
            sums[j] /= divisor;
        return sums;
    }

    /// <summary>Each party's step with its part of the answers.</summary>
    public double[][] Step(double[][] weights, double[] answers)
    {
        int at = 0;
        return [.. weights.Select(w => Project([.. w.Select(x => x - stepSize * (answers[at++] + l2 * x))]))];
    }

    private double[] Clip(double[] row)
    {
        double[] clipped = [.. row];
        if (mutant != JointMutant.UnboundedRows)
            RowClip.Rows(clipped, clipped.Length, 1);
        return clipped;
    }

    private double[] Project(double[] w)
    {
        double norm = Norm(w);
        return norm <= p.WeightNorm || mutant == JointMutant.NoProjection ? w : [.. w.Select(x => x * (p.WeightNorm / norm))];
    }

    public static double Dot(double[] a, double[] b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    public static double Norm(double[] a) => Math.Sqrt(Dot(a, a));

    public static double Distance(double[] a, double[] b) => Norm([.. a.Zip(b, (x, y) => x - y)]);

    /// <summary>Half of the angle of the proof at which a row and its mirror image are farthest apart: sin t.</summary>
    public static double WorstSine(JointGradientParameters p)
    {
        (double constant, double slope) = p.Family == GlmFamilyKind.Binomial ? (0.5, p.Parties * p.WeightNorm / 4) : (p.TargetBound!.Value, p.Parties * p.WeightNorm);
        return 2 * slope / (constant + Math.Sqrt(constant * constant + 8 * slope * slope));
    }

    /// <summary>The two persons that are farthest apart when every party's weights are (k, 0).</summary>
    public static (JointPerson One, JointPerson Other) WorstPair(JointGradientParameters p)
    {
        double sine = WorstSine(p), cosine = Math.Sqrt(1 - sine * sine), label = p.Family == GlmFamilyKind.Binomial ? -1 : -p.TargetBound!.Value;
        JointPerson Person(double second) => new([.. Enumerable.Range(0, p.Parties).Select(_ => (double[])[sine, second])], label);
        return (Person(cosine), Person(-cosine));
    }
}
