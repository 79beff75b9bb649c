namespace FedLearn.Experiments.HdpVfl;

/// <summary>The figures to reach: an independent implementation of HDP-VFL with received residuals clipped to [-1, 1], k = 1 and the analytic
/// Gaussian at delta 1e-2, replace-one, on the same features; mean and deviation of 10 runs with the best setting of its own grid.</summary>
internal sealed record Bar(Summary Accuracy, Summary Auc)
{
    private static readonly Dictionary<(string Data, double Epsilon), Bar> Known = new()
    {
        [("adult", 0.1)] = Of(.7534, .0262, .7108, .0799),
        [("adult", 0.5)] = Of(.7735, .0139, .8169, .0523),
        [("adult", 1)] = Of(.7812, .0071, .8471, .0053),
        [("adult", 2)] = Of(.7913, .0034, .8524, .0030),
        [("adult", 5)] = Of(.7881, .0045, .8624, .0010),
        [("adult", 10)] = Of(.7912, .0035, .8644, .0006),
        [("credit", 0.1)] = Of(.7128, .0214, .5252, .0510),
        [("credit", 0.5)] = Of(.7308, .0215, .5873, .0411),
        [("credit", 1)] = Of(.7303, .0163, .6135, .0225),
        [("credit", 2)] = Of(.7615, .0106, .6451, .0118),
        [("credit", 5)] = Of(.7875, .0045, .6718, .0056),
        [("credit", 10)] = Of(.7960, .0029, .6833, .0019),
    };

    /// <summary>The bar, or null where none was measured.</summary>
    public static Bar? For(string data, double epsilon) => Known.GetValueOrDefault((data, epsilon));

    private static Bar Of(double accuracy, double accuracySd, double auc, double aucSd) => new(new Summary(accuracy, accuracySd), new Summary(auc, aucSd));
}
