using System.Numerics.Tensors;

namespace FedLearn.Glm;

// Projected gradient descent on joint gradients (docs/protocol.md): scores and residuals stay, encrypted shares of the residual are summed, and each party
// learns the mean gradient of its own columns alone. Both sides do the same.

internal static class JointDescent
{
    /// <summary>Trains a party's weights in place.</summary>
    /// <param name="work">What it works on.</param>
    /// <param name="clock">Its clock: encrypted arithmetic counts as computing, for it is the mode's own.</param>
    /// <param name="weights">w.</param>
    /// <param name="targets">Labels at the active party; null at a passive one.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static async Task<(int Rounds, GlmStopReason Reason)> RunAsync(GlmWork work, RoundClock clock, double[] weights, GlmTargets? targets, CancellationToken cancellationToken)
    {
        IGlmFamily family = work.Plan.Family;
        double factor = JointRules.ScoreFactor(family);
        for (int round = 0; round < work.Rounds; round++)
        {
            int batch = round % work.Layout.Count, start = work.Layout.Start(batch), size = work.Layout.Size(batch);
            double[] share = new double[size];
            work.Train.Scores(start, weights, share);                                                   // u = X w          [b]
            targets?.AddOffsets(start, share);
            TensorPrimitives.Multiply(share, factor, share);
            for (int i = 0; targets is not null && i < size; i++)
                share[i] -= JointRules.Target(family, targets.Labels[start + i]);                       // a = alpha u - t  [b]
            work.CheckFinite(round, share);
            work.BeforeJointRound(round);
            TimeSpan waited = work.Joint!.WaitTime;
            double[] gradient = await work.Joint.GradientAsync(round, batch, share, cancellationToken).ConfigureAwait(false); // X' r / b [d]
            clock.Waited(work.Joint.WaitTime - waited);
            work.Step(weights, gradient, 1);
            if (batch == work.Layout.Count - 1)
                work.Report(round + 1, null);
        }

        return (work.Rounds, GlmStopReason.RoundLimit);
    }
}
