using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Glm;

/// <summary>Vectors that are packed in another way than the job says: a party without the noise that it owes is found by whoever gets its messages.</summary>
public class GlmPackingTests
{
    private static Payload Repacked(Payload payload, ElementType type) => (payload, type) switch
    {
        (Scores scores, ElementType.Lattice) => new Scores(LatticeVector.Of(scores.Values.Span, 1.0 / (1 << 20), 1 << 20)),
        (Scores scores, _) => new Scores(scores.Values, type),
        (Residuals residuals, ElementType.Lattice) => new Residuals(LatticeVector.Of(residuals.Values.Span, 1.0 / (1 << 20), 1 << 20)),
        (Residuals residuals, _) => new Residuals(residuals.Values, type),
        _ => payload,
    };

    private static async Task RefusedAsync(GlmJob job, GlmPartyInput[] inputs, string message, ElementType type)
    {
        int changed = 0;
        var error = await Assert.ThrowsAsync<PeerException>(() => RecordedSession.TrainAsync(job, inputs, m =>
        {
            if (!m.Name.StartsWith(message, StringComparison.Ordinal))
                return null;
            changed++;
            return Repacked(m.Payload, type);
        }));
        Assert.Equal(ProtocolErrors.UnexpectedMessage, error.PeerErrorId ?? error.Id);
        // Of several columns the next leaves before the first is refused.
        Assert.InRange(changed, 1, message == GlmReleases.MixedColumns ? 2 : 1);
    }

    [Theory]
    [InlineData(GlmOptimizer.Sgd, "training scores")]
    [InlineData(GlmOptimizer.Sgd, "training residuals")]
    [InlineData(GlmOptimizer.Sgd, "evaluation: training rows")]
    [InlineData(GlmOptimizer.Lbfgs, "training scores")]
    [InlineData(GlmOptimizer.Lbfgs, "training residuals")]
    [InlineData(GlmOptimizer.Accelerated, "training scores")]
    [InlineData(GlmOptimizer.Accelerated, "training residuals")]
    [InlineData(GlmOptimizer.Irls, "columns")]
    public async Task Train_VectorOfAnotherPacking_IsRefused(GlmOptimizer optimizer, string message)
    {
        VerticalData data = VerticalData.Random(3, "binomial", 40, 2, 2);
        GlmJob job = data.Job("binomial", new GlmTrainingOptions { Optimizer = optimizer, Epochs = 2 });
        string name = optimizer == GlmOptimizer.Irls ? GlmReleases.MixedColumns : message;
        foreach (ElementType type in new[] { ElementType.Float32, ElementType.Lattice })
            await RefusedAsync(job, data.Inputs(), name, type);
    }

    [Theory]
    [InlineData(PrivacyUnit.Record, "training scores", ElementType.Float64)]
    [InlineData(PrivacyUnit.Record, "training residuals", ElementType.Float64)]
    [InlineData(PrivacyUnit.Label, "training residuals", ElementType.Float64)]
    [InlineData(PrivacyUnit.Label, "training scores", ElementType.Lattice)]
    public async Task Train_WithoutTheNoiseThatTheJobSays_IsRefused(PrivacyUnit unit, string message, ElementType type)
    {
        VerticalData data = VerticalData.Random(3, "binomial", 40, 2, 2);
        GlmJob job = data.Job("binomial", new() { Epochs = 2, StepSize = 0.2, WeightNorm = 1, ResidualClip = 1 }) with
        {
            Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(2, 0.004), Unit = unit },
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
        };
        await RefusedAsync(job, data.Inputs(), message, type);
    }
}
