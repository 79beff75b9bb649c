using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>Training on randomised labels: the labels are released once, and the usual rounds that follow are post-processing of them, for any number of epochs.</summary>
/// <remarks>The claim is about labels alone: scores and residuals cross as they are, and with them what they tell of features.</remarks>
internal static class LabelDp
{
    public static async Task<GlmTraining> ActiveAsync(GlmWork work, IReadOnlyList<IPartyChannel> passives, LabelRelease labels, int[] trainRows,
        GlmTargets train, GlmTargets test, CancellationToken cancellationToken)
    {
        RandomizedResponse response = LabelRelease.ResponseOf(work.Plan);
        GlmTargets used = train;
        if (passives.Count > 0)
        {
            double[] released = new double[trainRows.Length];
            ReadOnlySpan<byte> classes = labels.Randomized(response, trainRows, PrivacyUnit.Label).Payload.Classes.Span;
            for (int i = 0; i < released.Length; i++)
                released[i] = work.Train.Outputs == 1 ? response.Debias(classes[i] == 1) : classes[i];
            used = train with { Labels = released };
        }

        GlmTraining outcome = await new GlmActiveTrainer(work, passives, used, test, train.Labels).RunAsync(cancellationToken).ConfigureAwait(false);
        return outcome with { Statement = passives.Count > 0 ? OneRoundClaims.LabelsOnly(work.Plan, work.Party, response, labels.Reused, train) : OneRoundClaims.Nothing(work.Plan) };
    }

    public static async Task<GlmTraining> PassiveAsync(GlmWork work, IPartyChannel active, CancellationToken cancellationToken)
    {
        GlmTraining outcome = await new GlmPassiveTrainer(work, active).RunAsync(cancellationToken).ConfigureAwait(false);
        return outcome with { Statement = OneRoundClaims.Unprotected(work.Plan, work.Party) };
    }
}
