namespace FedLearn.Privacy;

/// <summary>The Gaussian noise of one kind of value over a whole job, and what it costs.</summary>
/// <param name="Mu">Gaussian-DP parameter of all releases together; squares add up over kinds of values, see <see cref="GaussianDp"/> for
/// what it means as epsilon and delta. Finite, above 0.</param>
/// <param name="Sigma">Noise deviation used, every slack included; units of the value. Finite, above 0.</param>
/// <param name="Releases">Releases that the noise is calibrated for, at least 1.</param>
/// <param name="ValueBound">Public bound on the absolute value of an element before noise; an element outside is clamped to it. Finite, above 0.
/// It decides how many bits an element takes on the wire, so it must not depend on data.</param>
public sealed record NoiseCalibration(double Mu, double Sigma, int Releases, double ValueBound);
