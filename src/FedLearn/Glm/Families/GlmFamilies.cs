using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>The families that FedLearn ships. A family of one's own implements <see cref="IGlmFamily"/>.</summary>
public static class GlmFamilies
{
    /// <summary>Rows worked on at a time where a vector of intermediate values is needed: 2 KiB, well inside the first-level cache.</summary>
    internal const int Block = 256;

    /// <summary>Normal label, identity link, loss (z - y)^2 / 2. Any finite label.</summary>
    public static IGlmFamily Gaussian { get; } = new GaussianFamily();

    /// <summary>Two classes, logit link, loss log(1 + e^z) - y z. Labels 0 and 1, or -1 and +1.</summary>
    public static IGlmFamily Binomial { get; } = new BinomialFamily();

    /// <summary>Counts, log link, loss e^z - y z (the term log y! is constant and dropped). Whole labels of at least 0.</summary>
    public static IGlmFamily Poisson { get; } = new PoissonFamily();

    /// <summary>Positive amounts of constant relative spread, log link, loss z + y e^-z. Labels above 0.</summary>
    public static IGlmFamily Gamma { get; } = new GammaFamily();

    /// <summary>Amounts that are often 0, variance mu^p, log link, loss mu^(2-p)/(2-p) + y mu^(1-p)/(p-1), mu = e^z. Labels of at least 0.</summary>
    /// <param name="power">Power p of the variance: near 1 like counts, near 2 like Gamma amounts.</param>
    /// <exception cref="ArgumentOutOfRangeException">The power is not strictly between 1 and 2.</exception>
    public static IGlmFamily Tweedie(double power = 1.5) => power is > 1 and < 2 ? new TweedieFamily(power)
        : throw new ArgumentOutOfRangeException(nameof(power), power, "A Tweedie power is strictly between 1 and 2.");

    /// <summary>The family of a model of so many scores a row: that of a job that leaves the number of classes to the labels is told it.</summary>
    internal static IGlmFamily WithOutputs(IGlmFamily family, int outputs) => family is MultinomialFamily ? Multinomial(outputs) : family;

    /// <summary>Classes, softmax of one score a class, loss log sum e^z - z_y. Whole labels from 0 to classes - 1.</summary>
    /// <param name="classes">Number of classes M, 2 to 256. Null: one more than the largest label of the common rows, in mode none only.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number of classes is out of range.</exception>
    public static IGlmFamily Multinomial(int? classes = null) => classes is null or (>= 2 and <= RandomizedResponse.MostClasses) ? new MultinomialFamily(classes)
        : throw new ArgumentOutOfRangeException(nameof(classes), classes, $"A multinomial model has 2 to {RandomizedResponse.MostClasses} classes.");
}
