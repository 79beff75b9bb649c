using System.Collections.ObjectModel;
using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>A family of generalised linear models: distribution, link and what training, inference and the privacy proofs need of them.</summary>
/// <remarks>
/// <para>A row has K = <see cref="Outputs"/> linear predictors, one for all families but those of classes. Vectors over b rows and K predictors are
/// class-major: predictor m of row i stands at m b + i. Implementations are stateless and thread-safe.</para>
/// <para>A family of one's own implements this interface in one class; GlmFamilyConformance of FedLearn.Testing checks it. It trains in mode none
/// at once, in mode hdp-vfl when it declares <see cref="Bounds"/>, and in mode one-round when it declares them, its link is identity or log, by that name,
/// and the label has a declared range (<see cref="GlmPartyOptions.LabelRange"/>). Other modes take families of this library alone.</para>
/// </remarks>
public interface IGlmFamily
{
    /// <summary>Name in run files and reports, lower case.</summary>
    string Name { get; }

    /// <summary>Name of the link, such as <c>log</c>, for reports. Another name than identity, log and logit needs <see cref="LinkOf"/>.</summary>
    string Link { get; }

    /// <summary>Numbers that tell families of one name apart, such as the power of Tweedie, for model files; by name.</summary>
    /// <value>Finite. Default none.</value>
    IReadOnlyDictionary<string, double> Parameters => ReadOnlyDictionary<string, double>.Empty;

    /// <summary>Linear predictors of a row, K.</summary>
    /// <value>At least 1. Default 1.</value>
    int Outputs => 1;

    /// <summary>Why a label is refused, or null when it is legal. The text never holds the label itself.</summary>
    /// <param name="label">The label as read.</param>
    string? LabelFault(double label);

    /// <summary>The label as the loss uses it; binomial maps -1 to 0.</summary>
    /// <param name="label">A legal label.</param>
    double Canonical(double label);

    /// <summary>Residuals r = dl/dz, shape [K b].</summary>
    /// <param name="scores">Linear predictors z, shape [K b].</param>
    /// <param name="labels">Canonical labels, shape [b].</param>
    /// <param name="residuals">Receives the residuals.</param>
    void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals);

    /// <summary>Second derivatives d2l/(dz_m dz_k), shape [K K b]: entry (m, k) of row i stands at (m K + k) b + i. For K = 1 one number of at least 0 a row.</summary>
    /// <param name="scores">Linear predictors z, shape [K b].</param>
    /// <param name="labels">Canonical labels, shape [b].</param>
    /// <param name="curvatures">Receives the second derivatives.</param>
    void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures);

    /// <summary>Expected second derivatives (Fisher information of a row), the shape of <see cref="Curvatures"/>.</summary>
    /// <param name="scores">Linear predictors z, shape [K b].</param>
    /// <param name="information">Receives them.</param>
    /// <remarks>The default is right for K = 1 and every exponential dispersion family, whose second derivative is affine in the label: it is that of a
    /// label equal to its mean.</remarks>
    void Information(ReadOnlySpan<double> scores, Span<double> information)
    {
        double[] means = new double[scores.Length];
        Means(scores, means);
        Curvatures(scores, means, information);
    }

    /// <summary>Sum of the losses l(z, y), terms of y alone dropped.</summary>
    /// <param name="scores">Linear predictors z, shape [K b].</param>
    /// <param name="labels">Canonical labels, shape [b].</param>
    double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels);

    /// <summary>Sum of the unit deviances: twice the loss less that of the saturated model, at least 0.</summary>
    /// <param name="scores">Linear predictors z, shape [K b].</param>
    /// <param name="labels">Canonical labels, shape [b].</param>
    double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels);

    /// <summary>Means of the label, the inverse link: for classes their probabilities. Shape [K b].</summary>
    /// <param name="scores">Linear predictors z, shape [K b].</param>
    /// <param name="means">Receives the means; may be the memory of <paramref name="scores"/>.</param>
    void Means(ReadOnlySpan<double> scores, Span<double> means);

    /// <summary>Linear predictor at a mean: the link, which <see cref="Means"/> inverts. Only asked of families of one linear predictor, for the figures of a
    /// trained model; tried at one mean before training (FL2400).</summary>
    /// <param name="mean">Mean of the label.</param>
    /// <exception cref="NotSupportedException">The link is none of identity, log and logit, and the family does not say what it is.</exception>
    double LinkOf(double mean) => Link switch
    {
        "identity" => mean,
        "log" => Math.Log(mean),
        "logit" => Math.Log(mean / (1 - mean)),
        _ => throw new NotSupportedException($"The family '{Name}' does not implement its link '{Link}'."),
    };

    /// <summary>Where a free intercept starts: the linear predictors of a model without features, approximately: the conformance kit wants nine tenths
    /// of the loss that the best constants save over 0. Mode none only; private modes start at 0.</summary>
    /// <param name="labels">Canonical labels, shape [n], at least one.</param>
    /// <param name="weights">Sample weights, shape [n]; empty for ones.</param>
    /// <param name="start">Receives them, shape [K]; finite.</param>
    void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start);

    /// <summary>Whether the dispersion is a parameter that inference estimates from Pearson's statistic; otherwise it is 1.</summary>
    bool EstimatesDispersion => false;

    /// <summary>Variance of the label at a mean for dispersion 1. Only used where <see cref="EstimatesDispersion"/>.</summary>
    /// <param name="mean">Mean of the label.</param>
    double UnitVariance(double mean) => 1;

    /// <summary>What the privacy proofs may count on; null, the default, for a family without proved bounds, which private modes refuse.</summary>
    GlmFamilyBounds? Bounds => null;
}

/// <summary>What the privacy proofs know of a family.</summary>
/// <param name="Kind">Which theorem. A family of one's own is <see cref="GlmFamilyKind.Convex"/>.</param>
public sealed record GlmFamilyBounds(GlmFamilyKind Kind)
{
    /// <summary>Kind <see cref="GlmFamilyKind.Convex"/> only: from the residual clip C and the label bound k_y (null where none is declared) the Lipschitz
    /// constant, in the linear predictor, of dl/dz clipped to [-C, C], for every legal label. The loss must be convex in the linear predictor.</summary>
    public Func<double, double?, double>? Lipschitz { get; init; }

    /// <summary>Whether a private mode needs a declared range of the label.</summary>
    public bool NeedsLabelRange { get; init; }

    /// <summary>Smallest legal label of a declared range; null for none.</summary>
    public double? LeastLabel { get; init; }
}

/// <summary>Short forms for families of one linear predictor.</summary>
public static class GlmFamilyExtensions
{
    /// <summary>Mean of the label at a linear predictor.</summary>
    /// <param name="family">A family of one linear predictor.</param>
    /// <param name="score">Linear predictor z.</param>
    public static double Mean(this IGlmFamily family, double score)
    {
        ArgumentNullException.ThrowIfNull(family);
        ArgumentOutOfRangeException.ThrowIfNotEqual(family.Outputs, 1, nameof(family));
        Span<double> value = [score];
        family.Means(value, value);
        return value[0];
    }

    /// <summary>The kind of a family's bounds, null for none.</summary>
    internal static GlmFamilyKind? Kind(this IGlmFamily family) => family.Bounds?.Kind;

    /// <summary>Mean label under weights.</summary>
    internal static double MeanLabel(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights) => weights.IsEmpty
        ? TensorPrimitives.Sum(labels) / labels.Length
        : TensorPrimitives.Dot(labels, weights) / TensorPrimitives.Sum(weights);
}
