using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Samples.OwnFamily;
using FedLearn.Testing;

namespace FedLearn.Tests.Glm;

/// <summary>The kit passes the shipped families and the sample's, and finds what is wrong with families that are broken.</summary>
public class GlmFamilyConformanceTests
{
    private static readonly double[] Counts = [0, 1, 0, 2, 3, 1, 7];

    private static readonly double[] Amounts = [0, 1.5, 0, 0.25, 3, 0, 7.75];

    public static TheoryData<string> Names => [.. Named().Select(f => f.Name)];

    private static IEnumerable<(string Name, IGlmFamily Family, double[] Labels)> Named() =>
    [
        ("gaussian", GlmFamilies.Gaussian, [-3, 0, 0.5, 2, 9]),
        ("binomial", GlmFamilies.Binomial, [0, 1, 1, 0, 1]),
        ("binomial, signed", GlmFamilies.Binomial, [-1, 1, 1, -1, 1]),
        ("poisson", GlmFamilies.Poisson, Counts),
        ("gamma", GlmFamilies.Gamma, [0.01, 1, 2.5, 3, 0.5, 12]),
        ("tweedie 1.1", GlmFamilies.Tweedie(1.1), Amounts),
        ("tweedie 1.5", GlmFamilies.Tweedie(), Amounts),
        ("tweedie 1.9", GlmFamilies.Tweedie(1.9), Amounts),
        ("multinomial 2", GlmFamilies.Multinomial(2), [0, 1, 1, 0, 1]),
        ("multinomial 3", GlmFamilies.Multinomial(3), [0, 2, 1, 0, 1, 2, 2]),
        ("multinomial 6", GlmFamilies.Multinomial(6), [0, 2, 1, 0, 1, 2, 3, 4, 5, 5]),
        ("negative binomial 0.5", new NegativeBinomialFamily(0.5), Counts),
        ("negative binomial 3", new NegativeBinomialFamily(3), Counts),
    ];

    [Theory]
    [MemberData(nameof(Names))]
    public void Check_GoodFamily_Passes(string name)
    {
        (_, IGlmFamily family, double[] labels) = Named().Single(f => f.Name == name);
        GlmFamilyConformance.Check(family, labels);
        GlmFamilyConformance.Check(family, labels, largestScore: 1.5, seed: 7);
    }

    public static TheoryData<string, string> Faults => new()
    {
        { "upper-case name", "description" },
        { "parameter that is not a number", "description" },
        { "NaN is legal", "labels" },
        { "fault holds the label", "labels" },
        { "fault holds the label, rounded", "labels" },
        { "a legal label is refused", "labels" },
        { "mean loss instead of the sum", "rows by themselves" },
        { "the last row is forgotten", "rows by themselves" },
        { "residual of the wrong sign", "residuals" },
        { "residual without the label's square", "residuals" },
        { "curvature doubled", "curvatures" },
        { "loss not convex", "convexity" },
        { "saturated loss forgotten", "deviance" },
        { "deviance of the loss itself", "deviance" },
        { "mean of another link", "means" },
        { "means spoilt in place", "means" },
        { "link without LinkOf", "link" },
        { "name of another link", "link" },
        { "information of the label 0", "information" },
        { "unit variance of Poisson", "information" },
        { "start ignores weights", "start" },
        { "start of no label is infinite", "start" },
        { "empty span throws", "empty spans" },
        { "residuals throw what they should not", "rows by themselves" },
        { "NaN becomes 0", "not a number" },
        { "kind of another", "bounds" },
        { "Lipschitz constant too small", "bounds" },
        { "labels below the least", "bounds" },
        { "Lipschitz constant of the given labels", "bounds" },
        { "Lipschitz constant of one range", "bounds" },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public void Check_BrokenFamily_NamesTheCheck(string fault, string check)
    {
        double[] labels = fault is "residual without the label's square" or "information of the label 0" or "unit variance of Poisson" or "deviance of the loss itself" ? [0.01, 1, 2.5, 3, 0.5, 12] : Counts;
        ConformanceException error = Assert.Throws<ConformanceException>(() => GlmFamilyConformance.Check(new Broken(fault), labels));
        Assert.Contains($", {check}: ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Check_BoundOfEveryLabelInRange_Passes() => GlmFamilyConformance.Check(new Broken("nothing, and bounds of its own"), Counts);

    [Fact]
    public void Check_BrokenClasses_NamesTheCheck()
    {
        double[] labels = [0, 2, 1, 0, 1, 2, 2];
        foreach ((string fault, string check) in new[]
        {
            ("row-major", "rows by themselves"), ("only the diagonal", "curvatures"), ("no softmax", "means"), ("all classes alike", "start"),
        })
        {
            ConformanceException error = Assert.Throws<ConformanceException>(() => GlmFamilyConformance.Check(new BrokenClasses(fault), labels));
            Assert.Contains($", {check}: ", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Check_TooFewLabels_IsRefused() => Assert.Throws<ArgumentException>(() => GlmFamilyConformance.Check(GlmFamilies.Poisson, [1, 1, 1, 1]));

    // A family with one fault: Gamma where its labels are amounts, negative binomial elsewhere.
    private sealed class Broken(string fault) : IGlmFamily
    {
        private readonly IGlmFamily _sound = fault switch
        {
            "residual without the label's square" or "information of the label 0" or "unit variance of Poisson" or "deviance of the loss itself" => GlmFamilies.Gamma,
            "saturated loss forgotten" or "loss not convex" or "nothing, and bounds of its own" or "Lipschitz constant of the given labels" or "Lipschitz constant of one range" => GlmFamilies.Poisson,
            _ => new NegativeBinomialFamily(2),
        };

        public string Name => fault == "upper-case name" ? "Broken" : "broken";

        public string Link => fault switch { "link without LinkOf" => "cloglog", "name of another link" => "identity", _ => "log" };

        public IReadOnlyDictionary<string, double> Parameters => new Dictionary<string, double> { ["spread"] = fault == "parameter that is not a number" ? double.NaN : 2 };

        public bool EstimatesDispersion => fault == "unit variance of Poisson";

        public double UnitVariance(double mean) => mean;

        public string? LabelFault(double label) => fault switch
        {
            "NaN is legal" => double.IsNaN(label) ? null : _sound.LabelFault(label),
            "fault holds the label" when _sound.LabelFault(label) is not null => $"{label} is no count.",
            "fault holds the label, rounded" when _sound.LabelFault(label) is not null => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{label:G3} is no count."),
            "a legal label is refused" => label == 7 ? "the label is too large." : _sound.LabelFault(label),
            _ => _sound.LabelFault(label),
        };

        public double Canonical(double label) => label;

        public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
        {
            if (fault == "empty span throws" && scores.IsEmpty)
                throw new ArgumentException("empty");
            if (fault == "residuals throw what they should not")
                throw new KeyNotFoundException("no such row");
            int written = fault == "the last row is forgotten" && scores.Length > 8 ? scores.Length - 1 : scores.Length;
            _sound.Residuals(scores[..written], labels[..written], residuals[..written]);
            for (int i = 0; i < scores.Length; i++)
                residuals[i] = fault switch
                {
                    "residual of the wrong sign" => -residuals[i],
                    "residual without the label's square" => 1 - Math.Sqrt(labels[i]) * Math.Exp(-scores[i]),
                    "NaN becomes 0" => double.IsNaN(residuals[i]) ? 0 : residuals[i],
                    "loss not convex" => residuals[i] + 3 * Math.Cos(3 * scores[i]),
                    _ => residuals[i],
                };
        }

        public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
        {
            _sound.Curvatures(scores, labels, curvatures);
            for (int i = 0; i < scores.Length; i++)
                curvatures[i] = fault switch
                {
                    "curvature doubled" => 2 * curvatures[i],
                    "loss not convex" => curvatures[i] - 9 * Math.Sin(3 * scores[i]),
                    _ => curvatures[i],
                };
        }

        public void Information(ReadOnlySpan<double> scores, Span<double> information)
        {
            double[] means = new double[scores.Length];
            if (fault != "information of the label 0")
                Means(scores, means);
            Curvatures(scores, means, information);
        }

        public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
        {
            double loss = _sound.LossSum(scores, labels);
            for (int i = 0; i < scores.Length && fault == "loss not convex"; i++)
                loss += Math.Sin(3 * scores[i]);
            return fault == "mean loss instead of the sum" && scores.Length > 0 ? loss / scores.Length : loss;
        }

        public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
        {
            double deviance = _sound.DevianceSum(scores, labels);
            for (int i = 0; i < scores.Length && fault == "loss not convex"; i++)
                deviance += 2 * Math.Sin(3 * scores[i]) + 2;
            return fault switch
            {
                "saturated loss forgotten" => 2 * LossSum(scores, labels),
                "deviance of the loss itself" => deviance / 2,
                _ => deviance,
            };
        }

        public void Means(ReadOnlySpan<double> scores, Span<double> means)
        {
            if (fault == "means spoilt in place")
            {
                means.Clear();      // forgets that the memory may be that of the scores
            }

            _sound.Means(scores, means);
            for (int i = 0; i < means.Length && fault == "mean of another link"; i++)
                means[i] = Math.Log(1 + means[i]);
        }

        public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start)
        {
            _sound.Start(labels, fault == "start ignores weights" ? [] : weights, start);
            if (fault == "start of no label is infinite" && !labels.ContainsAnyExcept(0))
                start[0] = double.NegativeInfinity;
        }

        public GlmFamilyBounds? Bounds => fault switch
        {
            "kind of another" => GlmFamilies.Poisson.Bounds,
            "Lipschitz constant too small" => _sound.Bounds! with { Lipschitz = (clip, bound) => 0.7 * _sound.Bounds.Lipschitz!(clip, bound) },
            "Lipschitz constant of the given labels" or "Lipschitz constant of one range" => new(GlmFamilyKind.Convex)
            {
                Lipschitz = (clip, _) => clip + 7,      // right for labels up to 7 alone
                LeastLabel = 0,
                NeedsLabelRange = fault == "Lipschitz constant of one range",
            },
            "nothing, and bounds of its own" => new(GlmFamilyKind.Convex) { Lipschitz = (clip, bound) => clip + bound!.Value, LeastLabel = 0, NeedsLabelRange = true },
            "labels below the least" => _sound.Bounds! with { LeastLabel = 1 },
            _ => _sound.Bounds is { Kind: GlmFamilyKind.Convex } bounds ? bounds : null,
        };
    }

    private sealed class BrokenClasses(string fault) : IGlmFamily
    {
        private readonly IGlmFamily _sound = GlmFamilies.Multinomial(3);

        public string Name => "broken-classes";

        public string Link => "softmax";

        public int Outputs => 3;

        public string? LabelFault(double label) => _sound.LabelFault(label);

        public double Canonical(double label) => label;

        public void Residuals(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> residuals)
        {
            _sound.Residuals(scores, labels, residuals);
            if (fault != "row-major")
                return;
            double[] classMajor = residuals.ToArray();
            for (int i = 0; i < labels.Length; i++)
                for (int m = 0; m < 3; m++)
                    residuals[i * 3 + m] = classMajor[m * labels.Length + i];
        }

        public void Curvatures(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels, Span<double> curvatures)
        {
            _sound.Curvatures(scores, labels, curvatures);
            for (int at = 0; at < curvatures.Length && fault == "only the diagonal"; at++)
                curvatures[at] = at / labels.Length % 4 == 0 ? curvatures[at] : 0;
        }

        public void Information(ReadOnlySpan<double> scores, Span<double> information) => _sound.Information(scores, information);

        public double LossSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => _sound.LossSum(scores, labels);

        public double DevianceSum(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => _sound.DevianceSum(scores, labels);

        public void Means(ReadOnlySpan<double> scores, Span<double> means)
        {
            if (fault == "no softmax")
                GlmFamilies.Poisson.Means(scores, means);
            else
                _sound.Means(scores, means);
        }

        public void Start(ReadOnlySpan<double> labels, ReadOnlySpan<double> weights, Span<double> start)
        {
            if (fault == "all classes alike")
                start.Fill(1);
            else
                _sound.Start(labels, weights, start);
        }
    }
}
