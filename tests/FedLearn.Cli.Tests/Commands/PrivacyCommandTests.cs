using System.Globalization;
using System.Text.Json;
using FedLearn.Tests.Shared;

namespace FedLearn.Cli.Tests.Commands;

public class PrivacyCommandTests
{
    // What the verbs promise: rounded up, by at most 5e-13.
    private const double MostAbove = 5e-13, MostBelow = 1e-14;

    private static JsonElement Oracles(string table) => JsonDocument.Parse(File.ReadAllBytes(SharedData.RequireOracle("dp_oracles.json"))).RootElement.GetProperty(table);

    private static string Text(JsonElement row, string key) => row.GetProperty(key).ToString();

    private static async Task<JsonElement> Json(params string[] args)
    {
        ToolRun run = await ToolRun.Of(["privacy", .. args, "--json"]);
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonDocument.Parse(run.Output).RootElement;
    }

    private static void Upper(string expected, JsonElement document, params string[] path)
    {
        double exact = double.Parse(expected, CultureInfo.InvariantCulture);
        double actual = path.Aggregate(document, (at, key) => at.GetProperty(key)).GetDouble();
        Assert.InRange(actual, exact * (1 - MostBelow), exact * (1 + MostAbove));
    }

    private static string[] Calibrate(JsonElement row, string calibration) =>
        ["calibrate", "--family", "binomial", "--calibration", calibration, "--rows", Text(row, "n"), "--batches", Text(row, "r"), "--epochs", Text(row, "e"),
            "--step-size", Text(row, "eta"), "--l2", Text(row, "lambda"), "--weight-norm", Text(row, "k"), "--residual-clip", Text(row, "L"),
            "--target-bound", Text(row, "k_y"), "--epsilon", Text(row, "epsilon"), "--delta", Text(row, "delta")];

    private static readonly string[] Legal =
        ["calibrate", "--family", "binomial", "--rows", "569", "--batches", "5", "--epochs", "10", "--step-size", "1", "--l2", "0.001",
            "--weight-norm", "1", "--residual-clip", "1", "--epsilon", "1", "--delta", "1e-5"];

    private static string[] With(string[] args, string option, string value)
    {
        int at = Array.IndexOf(args, option);
        return at < 0 ? [.. args, option, value] : [.. args[..(at + 1)], value, .. args[(at + 2)..]];
    }

    [Theory]
    [InlineData("--l2", "-1")]
    [InlineData("--step-size", "0")]
    [InlineData("--weight-norm", "0")]
    [InlineData("--target-bound", "-1")]
    public async Task Calibrate_NumberOutOfItsRange_NamesTheOption(string option, string value)
    {
        ToolRun run = await ToolRun.Of(["privacy", .. With(Legal, option, value)]);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains($"{option}: it is not a finite number", run.Error, StringComparison.Ordinal);
        Assert.Contains("FL2300", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("calibrate")]
    [InlineData("gaussian")]
    [InlineData("one-round")]
    public async Task Delta_TooLarge_NamesTheOption(string verb)
    {
        string[] args = verb switch { "calibrate" => With(Legal, "--delta", "0.5"), "gaussian" => [verb, "--epsilon", "1", "--delta", "0.5"], _ => [verb, "--rows", "30000", "--label-rate", "0.24", "--epsilon", "1", "--delta", "0.5"] };
        ToolRun run = await ToolRun.Of(["privacy", .. args]);
        Assert.Equal(5, run.ExitCode);
        Assert.Contains("--delta: a delta of 0.1 or more", run.Error, StringComparison.Ordinal);
        Assert.Contains("FL5004", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Calibrate_Multinomial_NeedsItsClasses()
    {
        JsonElement three = await Json([.. With(With(Legal, "--family", "multinomial"), "--step-size", "0.5"), "--classes", "3"]);
        JsonElement binomial = await Json(With(Legal, "--step-size", "0.5"));
        // Residuals of classes are up to sqrt 2 long, those of two classes by one score up to 1.
        Assert.True(three.GetProperty("active").GetProperty("sensitivity").GetDouble() > binomial.GetProperty("active").GetProperty("sensitivity").GetDouble());
        foreach ((string[] args, string remedy) in new[] { (With(Legal, "--family", "multinomial"), "Give it, as in --classes 4."), ([.. Legal, "--classes", "3"], "Leave it out") })
        {
            ToolRun run = await ToolRun.Of(["privacy", .. args]);
            Assert.Equal(2, run.ExitCode);
            Assert.Contains("--classes", run.Error, StringComparison.Ordinal);
            Assert.Contains(remedy, run.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Gaussian_OracleRows_AgreeRoundedUp()
    {
        foreach (JsonElement row in Oracles("analytic_gaussian_sigma").EnumerateArray())
        {
            JsonElement document = await Json("gaussian", "--epsilon", Text(row, "epsilon"), "--delta", Text(row, "delta"));
            Upper(Text(row, "sigma"), document, "sigma");
            double mu = double.Parse(Text(row, "mu"), CultureInfo.InvariantCulture);
            Assert.InRange(document.GetProperty("mu").GetDouble(), mu * (1 - MostAbove), mu * (1 + MostBelow));
            Assert.Equal(["sigma", "mu"], document.EnumerateObject().Select(p => p.Name));
        }
    }

    [Fact]
    public async Task Account_OracleRows_AgreeRoundedUp()
    {
        foreach (JsonElement row in Oracles("gdp_delta").EnumerateArray().Where(row => double.Parse(Text(row, "delta"), CultureInfo.InvariantCulture) > 1e-300))
            Upper(Text(row, "delta"), await Json("account", "--mu", Text(row, "mu"), "--epsilon", Text(row, "epsilon")), "delta");
        foreach (JsonElement row in Oracles("gdp_epsilon").EnumerateArray())
            Upper(Text(row, "epsilon"), await Json("account", "--mu", Text(row, "mu"), "--delta", Text(row, "delta")), "epsilon");
    }

    [Fact]
    public async Task Calibrate_OracleRows_Agree()
    {
        foreach (JsonElement row in Oracles("hdp_vfl").EnumerateArray())
        {
            JsonElement paper = row.GetProperty("paper"), tight = row.GetProperty("tight");
            JsonElement document = await Json(Calibrate(row, "paper"));
            Upper(Text(paper, "Delta_A"), document, "active", "sensitivity");
            Upper(Text(paper, "Delta_B"), document, "passive", "sensitivity");
            Upper(Text(paper, "sigma_A"), document, "active", "sigma");
            Upper(Text(paper, "sigma_B"), document, "passive", "sigma");
            Assert.Equal(["mu", "active", "passive", "actualDelta"], document.EnumerateObject().Select(p => p.Name));

            document = await Json(Calibrate(row, "tight"));
            Upper(Text(tight, "Delta_A"), document, "active", "sensitivity");
            Upper(Text(tight, "Delta_B"), document, "passive", "sensitivity");
            Upper(Text(tight, "sigma_A"), document, "active", "sigma");
            Upper(Text(tight, "sigma_B"), document, "passive", "sigma");
            Assert.Equal(["mu", "active", "passive"], document.EnumerateObject().Select(p => p.Name));
        }
    }

    [Fact]
    public async Task Calibrate_OracleRowsOfOtherNeighbours_Agree()
    {
        foreach (JsonElement row in Oracles("hdp_vfl").EnumerateArray())
        {
            JsonElement tight = row.GetProperty("tight"), weights = tight.GetProperty("weight_noise_mode");
            Upper(Text(tight, "Delta_B_zeroout"), await Json([.. Calibrate(row, "tight"), "--adjacency", "zero-out"]), "passive", "sensitivity");

            JsonElement label = await Json([.. Calibrate(row, "tight"), "--unit", "label"]);
            Upper(Text(tight, "Delta_A_label_only"), label, "active", "sensitivity");
            Assert.Equal(["mu", "active"], label.EnumerateObject().Select(p => p.Name));

            JsonElement noise = await Json([.. Calibrate(row, "weight-noise"), "--share", ".5"]);
            Upper(Text(weights, "sigma_row_B"), noise, "passive", "sigma");
            Upper(Text(weights, "tau_B"), noise, "passive", "gradientSigma");
            // The active party's gradient has the same bound, 2 R C at C = 1.
            Upper(Text(weights, "tau_B"), noise, "active", "gradientSigma");
        }
    }

    [Fact]
    public async Task Calibrate_Document_SaysOfWhatSigmaIsMade()
    {
        JsonElement passive = (await Json(Legal)).GetProperty("passive");
        double Value(string key) => passive.GetProperty(key).GetDouble();
        Assert.Equal(Value("sensitivity"), Math.Sqrt(Math.Pow(Value("ownTerm"), 2) + Math.Pow(Value("driftTerm"), 2)), 1e-12);
        Assert.Equal(Value("sigmaCharged") / Value("sigma"), 1 + ((Value("latticeSlack") + Value("arithmeticSlack")) / Value("sensitivity")), 1e-12);
        Assert.Equal(Value("sigmaCharged") / (1 << 24) * Math.Sqrt(5690), Value("latticeSlack"), 1e-15);
        Assert.False(passive.TryGetProperty("gradientSigma", out _) || passive.TryGetProperty("ownRowSlack", out _) || passive.TryGetProperty("evaluationSigma", out _));

        JsonElement label = (await Json([.. Legal, "--unit", "label"])).GetProperty("active");
        Assert.True(label.GetProperty("ownRowSlack").GetDouble() > 0);
        JsonElement evaluated = (await Json([.. Legal, "--evaluation-share", "0.1"])).GetProperty("passive");
        Assert.True(evaluated.GetProperty("evaluationSigma").GetDouble() > 0 && evaluated.GetProperty("sigma").GetDouble() > Value("sigma"));
        double reshuffled = (await Json([.. Legal, "--schedule", "reshuffled"])).GetProperty("passive").GetProperty("sensitivity").GetDouble();
        Assert.InRange(reshuffled, Value("sensitivity"), 1.05 * Value("sensitivity"));
    }

    [Theory]
    [InlineData("FL5014", "--unit", "label", "--adjacency", "zero-out")]
    [InlineData("FL5015", "--calibration", "paper", "--adjacency", "zero-out")]
    [InlineData("FL5015", "--calibration", "paper", "--schedule", "reshuffled")]
    [InlineData("FL5015", "--calibration", "paper", "--weight-bound", "1")]
    [InlineData("FL2101", "--calibration", "weight-noise", "--evaluation-share", "0.5")]
    [InlineData("FL2101", "--unit", "label", "--evaluation-share", "0.2")]
    [InlineData("FL2307", "--calibration", "weight-noise", "--share", "1")]
    public async Task Calibrate_WhatDoesNotGoTogether_IsRefused(string id, params string[] options)
    {
        ToolRun run = await ToolRun.Of(["privacy", .. Legal, .. options, "--json"]);
        Assert.Equal((id[2] - '0', ""), (run.ExitCode, run.Output));
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Calibrate_PaperAboveEpsilonOne_ReportsActualDelta()
    {
        // The classical factor at epsilon 10, delta 0.01 reaches delta 0.0406.
        JsonElement document = await Json([.. With(With(Legal, "--epsilon", "10"), "--delta", "0.01"), "--calibration", "paper"]);
        Assert.Equal(0.0406, document.GetProperty("actualDelta").GetDouble(), 5e-5);
        Assert.Equal(document.GetProperty("active").GetProperty("sensitivity").GetDouble() / document.GetProperty("active").GetProperty("sigma").GetDouble(),
            document.GetProperty("mu").GetDouble(), 1e-14);
    }

    [Theory]
    [InlineData("--epsilon", "NaN", 2)]
    [InlineData("--epsilon", "-1", 2)]
    [InlineData("--epsilon", "0", 2)]
    [InlineData("--epsilon", "1e999", 2)]
    [InlineData("--epsilon", "Infinity", 2)]
    [InlineData("--epsilon", "one", 2)]
    [InlineData("--epsilon", "1,5", 2)]
    [InlineData("--delta", "NaN", 2)]
    [InlineData("--delta", "0", 2)]
    [InlineData("--delta", "-1e-5", 2)]
    [InlineData("--delta", "0.1", 5)]
    [InlineData("--delta", "0.5", 5)]
    [InlineData("--step-size", "0", 2)]
    [InlineData("--step-size", "NaN", 2)]
    [InlineData("--step-size", "7.98", 5)]
    [InlineData("--l2", "-1", 2)]
    [InlineData("--weight-norm", "0", 2)]
    [InlineData("--residual-clip", "-1", 2)]
    [InlineData("--target-bound", "0", 2)]
    [InlineData("--row-norm", "0", 2)]
    [InlineData("--rows", "0", 2)]
    [InlineData("--rows", "5e3", 2)]
    [InlineData("--rows", "99999999999", 2)]
    [InlineData("--batches", "570", 2)]
    [InlineData("--batches", "0", 2)]
    [InlineData("--epochs", "0", 2)]
    [InlineData("--family", "gaussian", 2)]
    [InlineData("--family", "poisson", 2)]
    [InlineData("--family", "multinomial", 2)]
    [InlineData("--calibration", "loose", 2)]
    [InlineData("--adjacency", "add-remove", 2)]
    [InlineData("--unit", "person", 2)]
    [InlineData("--schedule", "secret", 2)]
    [InlineData("--share", "0.5", 2)]
    [InlineData("--evaluation-share", "1", 2)]
    [InlineData("--evaluation-share", "NaN", 2)]
    [InlineData("--offset-bound", "-1", 2)]
    [InlineData("--weight-bound", "0", 2)]
    [InlineData("--bogus", "1", 2)]
    public async Task Calibrate_IllegalValue_EndsWithIdAndPage(string option, string value, int exitCode)
    {
        ToolRun run = await ToolRun.Of(["privacy", .. With(Legal, option, value), "--json"]);
        Assert.Equal(exitCode, run.ExitCode);
        Assert.Empty(run.Output);
        Assert.Matches($@"\(FL{exitCode}\d\d\d\)", run.Error);
        Assert.Contains($"See docs/errors/FL{exitCode}", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(5, "gaussian", "--epsilon", "1", "--delta", "0.1")]
    [InlineData(2, "gaussian", "--epsilon", "NaN", "--delta", "0.01")]
    [InlineData(2, "gaussian", "--epsilon", "1")]
    [InlineData(2, "gaussian", "--epsilon", "1", "--epsilon", "2", "--delta", "0.01")]
    [InlineData(2, "account", "--mu", "1")]
    [InlineData(2, "account", "--mu", "1", "--epsilon", "1", "--delta", "0.01")]
    [InlineData(2, "account", "--mu", "-1", "--epsilon", "1")]
    [InlineData(2, "account", "--mu", "NaN", "--delta", "0.01")]
    [InlineData(2, "account", "--mu", "1", "--epsilon", "-1")]
    [InlineData(2, "account", "--mu", "1", "--delta", "0")]
    [InlineData(5, "account", "--mu", "1", "--delta", "0.1")]
    [InlineData(2, "account", "--delta", "0.01")]
    [InlineData(2, "account", "--pure-epsilon", "1", "--epsilon", "1")]
    [InlineData(2, "account", "--pure-epsilon", "-1", "--delta", "0.01")]
    [InlineData(2, "account", "--mu", "1", "--sampling-rate", "0.1", "--noise", "1", "--steps", "1", "--delta", "0.01", "--observer", "outside")]
    [InlineData(2, "account", "--sampling-rate", "0.1", "--noise", "1", "--delta", "0.01", "--observer", "outside")]
    [InlineData(2, "account", "--sampling-rate", "0.1", "--steps", "1", "--delta", "0.01", "--observer", "outside")]
    [InlineData(2, "account", "--sampling-rate", "2", "--noise", "1", "--steps", "1", "--delta", "0.01", "--observer", "outside")]
    [InlineData(2, "account", "--sampling-rate", "0.1", "--noise", "1", "--steps", "1", "--delta", "0.01", "--observer", "nobody")]
    [InlineData(5, "account", "--sampling-rate", "0.1", "--noise", "1", "--steps", "1", "--delta", "0.01")]
    [InlineData(5, "account", "--sampling-rate", "0.1", "--noise", "1", "--steps", "1", "--delta", "0.01", "--observer", "peer")]
    [InlineData(2, "guess")]
    [InlineData(2)]
    public async Task Privacy_IllegalLine_EndsWithExitCode(int exitCode, params string[] args)
    {
        ToolRun run = await ToolRun.Of(["privacy", .. args]);
        Assert.Equal(exitCode, run.ExitCode);
        Assert.Empty(run.Output);
    }

    [Theory]
    [InlineData("FL2101", "--steps", "--mu", "1", "--steps", "100", "--delta", "1e-5")]
    [InlineData("FL2101", "--observer", "--mu", "1", "--observer", "outside", "--epsilon", "1")]
    [InlineData("FL2101", "--observer", "--pure-epsilon", "1", "--observer", "peer", "--delta", "1e-5")]
    [InlineData("FL2101", "--steps", "--mu", "1", "--pure-epsilon", "1", "--steps", "2", "--delta", "1e-5")]
    [InlineData("FL2300", "--mu", "--mu", "1e155", "--delta", "1e-5")]
    public async Task Account_WhatWouldNotCount_IsRefused(string id, string option, params string[] args)
    {
        ToolRun run = await ToolRun.Of(["privacy", "account", .. args, "--json"]);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
        Assert.Contains(option, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Account_HugeMu_IsDeltaOne() => Assert.Equal(1, (await Json("account", "--mu", "1e13", "--epsilon", "2")).GetProperty("delta").GetDouble());

    [Fact]
    public async Task Calibrate_DefaultsAndGaussianFamily_AreTightReplaceOneRowNormOne()
    {
        string[] gaussian = With(With(Legal, "--family", "gaussian"), "--target-bound", "2.1");
        string[] spelledOut = [.. gaussian, "--calibration", "tight", "--adjacency", "replace-one", "--row-norm", "1"];
        Assert.Equal((await ToolRun.Of(["privacy", .. gaussian, "--json"])).Output, (await ToolRun.Of(["privacy", .. spelledOut, "--json"])).Output);
    }

    [Fact]
    public async Task Gaussian_WithoutJson_PrintsTableOnStandardError()
    {
        ToolRun run = await ToolRun.Of("privacy", "gaussian", "--epsilon", "1", "--delta", "1e-2");
        Assert.Equal((0, ""), (run.ExitCode, run.Output));
        Assert.Matches(@"sigma\s+1\.8778", run.Error);
    }

    [Fact]
    public async Task Account_EpsilonZero_IsLegal() =>
        Assert.InRange((await Json("account", "--mu", "0.05", "--epsilon", "0")).GetProperty("delta").GetDouble(), 0.01994503, 0.01994504);

    [Fact]
    public async Task Account_PureAndGaussian_IsTheSmallerFigure()
    {
        double gaussian = (await Json("account", "--mu", "0.5", "--delta", "1e-5")).GetProperty("epsilon").GetDouble();
        Assert.Equal(1, (await Json("account", "--pure-epsilon", "1", "--delta", "1e-5")).GetProperty("epsilon").GetDouble());
        Assert.InRange((await Json("account", "--pure-epsilon", "0.1", "--mu", "0.5", "--delta", "1e-5")).GetProperty("epsilon").GetDouble(), gaussian, gaussian + 0.1);
    }

    [Fact]
    public async Task Account_SampledSteps_GivesBothBounds()
    {
        string[] line = ["account", "--sampling-rate", "0.1", "--noise", "2", "--steps", "200", "--observer", "outside"];
        JsonElement document = await Json([.. line, "--delta", "1e-5"]);
        double lower = document.GetProperty("epsilonLower").GetDouble(), upper = document.GetProperty("epsilon").GetDouble();
        Assert.True(lower <= 3.35966 && 3.35966 <= upper && upper - lower <= 1e-4);
        JsonElement back = await Json([.. line, "--epsilon", "3.36"]);
        Assert.InRange(back.GetProperty("delta").GetDouble(), back.GetProperty("deltaLower").GetDouble(), 1e-5);

        // Without sampling the observer does not matter.
        JsonElement whole = await Json("account", "--sampling-rate", "1", "--noise", "20", "--steps", "100", "--delta", "1e-5");
        Assert.Equal(1, whole.GetProperty("epsilon").GetDouble() / 1.99309140441511963, 1e-11);
    }
}
