using System.CommandLine;
using System.Text.Json.Nodes;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Cli.Commands;

/// <summary><c>fedlearn privacy account</c>: what releases cost.</summary>
internal static class PrivacyAccountCommand
{
    private const string Place = "fedlearn privacy account";

    /// <summary>Builds the command.</summary>
    public static Command Create()
    {
        Option<double?> mu = Options.Number("--mu", "Gaussian-DP parameter, sensitivity / sigma, at least 0; of several releases the root of the sum of squares.", required: false),
            pure = Options.Number("--pure-epsilon", "Sum of the epsilons of releases with delta 0, such as randomised responses, at least 0; needs --delta.", required: false),
            rate = Options.Number("--sampling-rate", "Poisson sampling: probability with which a record enters a step, above 0 and at most 1.", required: false),
            noise = Options.Number("--noise", "Noise deviation of a step per unit of the L2 sensitivity of adding or removing a record, above 0.", required: false),
            epsilon = Options.Number("--epsilon", "Privacy loss in nats, at least 0; asks for delta.", required: false),
            delta = Options.Number("--delta", "Probability, above 0 and below 0.1; asks for epsilon.", required: false);
        Option<int> steps = Options.Whole("--steps", "Noisy steps, at least 1.", required: false);
        var observer = Options.Word("--observer", "Against whom: peer (sees the samples) or outside (never sees one). Default peer, against which sampling hides nothing.",
            [("peer", SampleVisibility.SeenByObserver), ("outside", SampleVisibility.HiddenFromObserver)], SampleVisibility.SeenByObserver);
        Option<bool> json = Options.Json();
        var command = new Command("account",
            """
            Compute the privacy loss of what has been released: epsilon at a delta, or delta at an epsilon. It is exact for Gaussian releases (--mu).
            With --pure-epsilon, beside --mu or instead of it, it is the smallest figure known for both. For sampled steps (--sampling-rate, --noise,
            --steps) it gives bounds from both sides under adding or removing a record: claim the upper one.

            Examples:
              fedlearn privacy account --mu 0.5 --delta 1e-5
              fedlearn privacy account --mu 0.5 --epsilon 2
              fedlearn privacy account --mu 0.5 --pure-epsilon 1 --delta 1e-5
              fedlearn privacy account --sampling-rate 0.01 --noise 1.1 --steps 1000 --observer outside --delta 1e-5
            """)
        { mu, pure, rate, noise, steps, observer, epsilon, delta, json };
        command.SetAction(parsed =>
        {
            double? e = parsed.GetValue(epsilon), d = parsed.GetValue(delta);
            if (e is null == d is null)
                throw Disagree("it needs either --delta or --epsilon.", "Give one of the two.");
            if (d >= 0.1)
                HdpVflCalibration.CheckBudget(1, d.Value);
            foreach (Option option in new Option[] { steps, observer })
                if (parsed.GetValue(rate) is null && parsed.GetResult(option) is { Implicit: false })
                    throw Disagree($"{option.Name} is about sampled steps, and --sampling-rate is not given.",
                        $"Leave {option.Name} out, and give the mu or the pure epsilon of all releases together; or give --sampling-rate with --noise and --steps.");
            JsonObject document = (parsed.GetValue(mu), parsed.GetValue(pure), parsed.GetValue(rate), parsed.GetValue(noise)) switch
            {
                ({ } m, null, null, null) => d is null ? new() { ["delta"] = GaussianDp.Delta(m, e!.Value) } : new() { ["epsilon"] = GaussianDp.Epsilon(m, d.Value) },
                (var m, { } p, null, null) => new() { ["epsilon"] = Mixed(m, p, d) },
                (null, null, { } q, { } sigma) => Sampled(new(observer.Of(parsed), new SubsampledGaussian(q, sigma, parsed.GetValue(steps))), e, d),
                _ => throw Disagree("the options do not say what was released.", "Give --mu, --pure-epsilon or both, or --sampling-rate with --noise and --steps."),
            };
            if (document["epsilon"] is { } loss && !double.IsFinite((double)loss))
                throw new ConfigurationException(PrivacyErrors.InvalidNumber, "--mu, --pure-epsilon or --noise", "the epsilon of such releases is beyond the range of a double: they protect nothing.",
                    "Give what was released, or ask for delta with --epsilon.");
            PrivacyCommand.Print(parsed, json, document);
        });
        return command;
    }

    private static double Mixed(double? mu, double pure, double? delta) => delta is { } d
        ? (PrivacyTotal.OfPure(pure) + PrivacyTotal.OfMu(mu ?? 0)).Epsilon(d)
        : throw Disagree("--pure-epsilon answers with an epsilon only.", "Give --delta.");

    private static JsonObject Sampled(PldAccountant accountant, double? epsilon, double? delta)
    {
        (string name, PldResult bounds) = delta is { } d ? ("epsilon", accountant.Epsilon(d)) : ("delta", accountant.Delta(epsilon!.Value));
        return new() { [$"{name}Lower"] = bounds.Lower, [name] = bounds.Upper };
    }

    private static ConfigurationException Disagree(string cause, string remedy) => new(CliErrors.OptionsDisagree, Place, cause, remedy);
}
