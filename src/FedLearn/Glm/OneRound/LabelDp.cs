using System.Numerics.Tensors;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>Training on randomised labels: the labels are released once, and the usual rounds that follow are post-processing of them, for any number of epochs.</summary>
/// <remarks>The claim is about labels alone: scores and residuals cross as they are, and with them what they tell of features.</remarks>
internal static class LabelDp
{
    public static async Task<GlmTraining> ActiveAsync(GlmWork work, IReadOnlyList<IPartyChannel> passives, LabelRelease labels, int[] trainRows,
        double[] trainLabels, double[] testLabels, CancellationToken cancellationToken)
    {
        RandomizedResponse response = LabelRelease.ResponseOf(work.Plan);
        double[] used = trainLabels;
        if (passives.Count > 0)
        {
            used = new double[trainRows.Length];
            ReadOnlySpan<byte> bits = labels.Randomized(response, trainRows, PrivacyUnit.Label).Payload.Classes.Span;
            for (int i = 0; i < used.Length; i++)
                used[i] = response.Debias(bits[i] == 1);
        }

        GlmTraining outcome = await new GlmActiveTrainer(work, passives, used, testLabels, trainLabels).RunAsync(cancellationToken).ConfigureAwait(false);
        return outcome with { Statement = passives.Count > 0 ? OneRoundClaims.LabelsOnly(work.Plan, work.Party, response, labels.Reused) : OneRoundClaims.Nothing(work.Plan) };
    }

    public static async Task<GlmTraining> PassiveAsync(GlmWork work, IPartyChannel active, CancellationToken cancellationToken)
    {
        GlmTraining outcome = await new GlmPassiveTrainer(work, active).RunAsync(cancellationToken).ConfigureAwait(false);
        return outcome with { Statement = OneRoundClaims.Unprotected(work.Plan, work.Party) };
    }
}

// r = sigmoid(z) - y, loss log(1 + e^z) - y z: the binomial loss for labels outside [0, 1], linear in the label, so that its mean over the
// randomised response is the loss of the true label.
internal sealed class DebiasedBinomial : IGlmFamily
{
    private static readonly double[] Zeros = new double[GlmFamilies.Block];

    public static DebiasedBinomial Instance { get; } = new();

    public string Name => GlmFamilies.Binomial.Name;

    public GlmFamilyKind? ProvedBounds => GlmFamilyKind.Binomial;

    public string? LabelFault(double label) => GlmFamilies.Binomial.LabelFault(label);

    public double Canonical(double label) => GlmFamilies.Binomial.Canonical(label);

    public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(labels.Length, scores.Length);
        if (scores.IsEmpty)
            return;                                                                                     // Sigmoid refuses an empty span
        TensorPrimitives.Sigmoid(scores, residuals);
        TensorPrimitives.Subtract(residuals[..scores.Length], labels, residuals);
    }

    public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures) => GlmFamilies.Binomial.Curvatures(scores, labels, curvatures);

    public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        double sum = 0;
        for (int start = 0; start < scores.Length; start += Zeros.Length)
        {
            ReadOnlySpan<double> block = scores.Slice(start, Math.Min(Zeros.Length, scores.Length - start));
            sum += GlmFamilies.Binomial.LossSum(block, Zeros.AsSpan(0, block.Length));
        }

        return sum - TensorPrimitives.Dot(scores, labels);
    }

    public double Mean(double score) => GlmFamilies.Binomial.Mean(score);
}
