using FedLearn.Diagnostics;

namespace FedLearn.Dssm;

/// <summary>What a private job may not train with, since a sample's messages would then depend on other samples in ways that no account counts.</summary>
internal static class PrivateLossRules
{
    /// <summary>Refuses in-batch losses, and negatives that are not drawn uniformly and independently of data.</summary>
    /// <param name="model">Model of a job that noises something.</param>
    /// <exception cref="PrivacyRefusedException">FL5135 or FL5136.</exception>
    public static void Check(DssmModelOptions model)
    {
        ArgumentNullException.ThrowIfNull(model);
        if (model.Loss is DssmLossKind.InBatch or DssmLossKind.InBatchLogQ)
            throw new PrivacyRefusedException(DssmLossErrors.BatchLossRefused, "model.loss", "the loss compares a sample with the positives of other samples, or uses their counts.",
                "Use the sampled or the full loss.");
        if (model.Loss == DssmLossKind.Sampled && model.NegativeSource != NegativeSource.Uniform)
            throw new PrivacyRefusedException(DssmLossErrors.NegativesRefused, "model.negativeSource", "these negatives depend on the events of the label party.",
                "Draw negatives uniformly.");
    }
}
