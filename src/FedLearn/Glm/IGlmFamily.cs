namespace FedLearn.Glm;

/// <summary>A family of generalised linear models: distribution, link and what the trainer needs of them.</summary>
/// <remarks>Implementations are stateless and thread-safe. Spans of one call have equal lengths.</remarks>
public interface IGlmFamily
{
    /// <summary>Name in run files and reports, lower case.</summary>
    string Name { get; }

    /// <summary>Why a label is refused, or null when it is legal. The text never holds the label itself.</summary>
    /// <param name="label">The label as read.</param>
    string? LabelFault(double label);

    /// <summary>The label as the loss uses it; binomial maps -1 to 0.</summary>
    /// <param name="label">A legal label.</param>
    double Canonical(double label);

    /// <summary>Residuals r = dl/dz, shape [b].</summary>
    /// <param name="scores">Linear predictors z.</param>
    /// <param name="labels">Canonical labels.</param>
    /// <param name="residuals">Receives the residuals.</param>
    void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals);

    /// <summary>Second derivatives d2l/dz2, shape [b], at least 0.</summary>
    /// <param name="scores">Linear predictors z.</param>
    /// <param name="labels">Canonical labels.</param>
    /// <param name="curvatures">Receives the second derivatives.</param>
    void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures);

    /// <summary>Sum of the losses l(z, y); for the Gaussian half the squared error, terms of y alone dropped for the Poisson.</summary>
    /// <param name="scores">Linear predictors z.</param>
    /// <param name="labels">Canonical labels.</param>
    double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels);

    /// <summary>Mean of the label at a linear predictor: the inverse link.</summary>
    /// <param name="score">Linear predictor z.</param>
    double Mean(double score);

    /// <summary>Constants for the privacy proofs; null for a family without proved bounds, which private modes refuse.</summary>
    Privacy.GlmFamilyKind? ProvedBounds { get; }
}
