using MathNet.Numerics;

namespace FedLearn.Glm;

/// <summary>One weight with what inference says of it.</summary>
/// <param name="Estimate">The weight, in units of the feature as the model uses it.</param>
/// <param name="StandardError">Root of its variance, same units; at least 0.</param>
/// <param name="Z">Estimate over standard error.</param>
/// <param name="PValue">Chance of a larger |z| were the weight 0, by the normal distribution; 0 to 1.</param>
public sealed record GlmCoefficient(double Estimate, double StandardError, double Z, double PValue)
{
    internal static GlmCoefficient Of(double estimate, double error)
    {
        double z = estimate / error;
        return new(estimate, error, z, SpecialFunctions.Erfc(Math.Abs(z) / Math.Sqrt(2)));
    }
}

/// <summary>Standard errors of one party's weights, private to the party as they are.</summary>
/// <param name="Dispersion">Pearson's statistic over the degrees of freedom for families that have a dispersion, else 1.</param>
/// <param name="DegreesOfFreedom">Training rows of sample weight above 0, less weights of all parties together.</param>
/// <param name="Penalised">Whether the model has a quadratic penalty: the information then includes it, and z and p-values are those of shrunken weights.</param>
/// <param name="Coefficients">One for each weight in the order of the model, the free intercept last.</param>
/// <remarks>Expected Fisher information at the final weights, sum of u I(z) x x' + n l2 over the n rows of sample weight u above 0, inverted and multiplied by the dispersion, as GLM software does (McCullagh and Nelder
/// 1989, section 2.5). What it discloses beyond mode none's training: each passive party's columns, mixed by a secret matrix, to the active party; and to each passive party
/// the covariance of its own weights. Sample weights count as if scaled to mean 1 over those rows.</remarks>
public sealed record GlmInference(double Dispersion, int DegreesOfFreedom, bool Penalised, IReadOnlyList<GlmCoefficient> Coefficients);
