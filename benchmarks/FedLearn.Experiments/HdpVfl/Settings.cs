namespace FedLearn.Experiments.HdpVfl;

/// <summary>The hyper-parameters of a private job; see GlmTrainingOptions for ranges.</summary>
/// <param name="Epochs">Passes over the rows, e.</param>
/// <param name="Batches">Batches an epoch, r.</param>
/// <param name="StepSize">Step size, eta.</param>
/// <param name="ResidualClip">Bound on a residual, C.</param>
/// <param name="WeightNorm">Radius of the ball of weights, k.</param>
/// <param name="L2">Penalty, lambda.</param>
internal sealed record Settings(int Epochs, int Batches, double StepSize, double ResidualClip, double WeightNorm, double L2);
