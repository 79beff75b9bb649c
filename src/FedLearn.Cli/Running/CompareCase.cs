using System.Globalization;
using FedLearn.Cli.RunFiles;

namespace FedLearn.Cli.Running;

/// <summary>What <c>compare</c> is asked for.</summary>
/// <param name="Epsilons">Epsilons of the private rows, each above 0, ascending.</param>
/// <param name="Schemes">Schemes of homomorphic encryption, as run files name them.</param>
/// <param name="Delta">Delta of the private rows; null for the job's.</param>
/// <param name="HeEpochs">Most epochs of a Paillier row.</param>
/// <param name="Repeats">Runs of each plain, guest-only and HDP-VFL row, of whose seconds the median is taken.</param>
internal sealed record CompareRequest(IReadOnlyList<double> Epsilons, IReadOnlyList<string> Schemes, double? Delta, int HeEpochs, int Repeats);

/// <summary>One way to train the job: a row of the comparison.</summary>
/// <param name="Mode"><c>none</c>, <c>guest-only</c>, <c>hdp-vfl</c>, <c>one-round</c>, <c>he</c> or <c>he+dp</c>.</param>
internal sealed record CompareCase(string Mode)
{
    private const string Optimizer = "training.optimizer";

    /// <summary>Calibration of HDP-VFL; null elsewhere.</summary>
    public string? Calibration { get; init; }

    /// <summary>Scheme of homomorphic encryption; null elsewhere.</summary>
    public string? Scheme { get; init; }

    /// <summary>What does the arithmetic of CKKS, as run files name it; null for the run file's own choice.</summary>
    public string? Engine { get; init; }

    /// <summary>Epsilon of each party; null without one.</summary>
    public double? Epsilon { get; init; }

    /// <summary>Delta of each party; null without one.</summary>
    public double? Delta { get; init; }

    /// <summary>Epochs in place of the job's; null for the job's.</summary>
    public int? Epochs { get; init; }

    /// <summary>Whether every round costs so much that the row is run once, and tells how far it is.</summary>
    public bool IsSlow => Scheme is not null;

    /// <summary>Whether the row iterates with sgd like the plain one, so that its epochs compare.</summary>
    public bool IsIterative => Mode != "one-round";

    /// <summary>Whether it is run several times. Seconds of one pass, or of encryption, are no matter of a few percent.</summary>
    public bool Repeats => Mode is "none" or "guest-only" or "hdp-vfl";

    /// <summary>What rows of different epsilons have in common, for people.</summary>
    public string Series => (Mode, Calibration, Scheme) switch
    {
        ("none", _, _) => "Plain",
        ("guest-only", _, _) => "Active party alone",
        ("hdp-vfl", { } calibration, _) => $"HDP-VFL ({calibration})",
        ("one-round", _, _) => "One-round",
        ("he", _, { } scheme) => $"HE ({Word(scheme)}{(Engine == "native" ? ", native" : "")})",
        (_, _, { } scheme) => $"HE + DP ({Word(scheme)})",
        _ => Mode,
    };

    /// <summary>The row for people.</summary>
    public string Name => Epsilon is { } epsilon ? $"{Series} at epsilon {Text(epsilon)}" : Series;

    /// <summary>Values in place of the run file's.</summary>
    /// <param name="shared">Those that every row has.</param>
    public IReadOnlyList<RunFileSetting> Settings(IEnumerable<RunFileSetting> shared)
    {
        var settings = new List<RunFileSetting> { new("privacy.mode", Mode == "guest-only" ? "none" : Mode) };
        void Add(string key, string? text)
        {
            if (text is not null)
                settings.Add(new RunFileSetting(key, text));
        }

        Add("privacy.calibration", Calibration);
        Add("privacy.he.scheme", Scheme);
        Add("privacy.he.engine", Engine);
        Add("privacy.epsilon", Epsilon is { } epsilon ? Text(epsilon) : null);
        Add("privacy.delta", Delta is { } delta ? Text(delta) : null);
        Add("training.epochs", Epochs?.ToString(CultureInfo.InvariantCulture));
        Add(Optimizer, IsIterative ? "sgd" : null);
        return [.. settings, .. shared];
    }

    /// <summary>All rows, in the order of the document.</summary>
    /// <param name="request">What is asked for.</param>
    /// <param name="delta">Delta of the private rows.</param>
    /// <param name="epochs">Epochs of the job, which a Paillier row does not exceed.</param>
    /// <param name="native">Whether this machine has SEAL's own library: then CKKS runs in WebAssembly and natively, so that the report has their ratio.</param>
    public static IReadOnlyList<CompareCase> All(CompareRequest request, double delta, int epochs, bool native = false)
    {
        IEnumerable<CompareCase> Encrypted(string scheme) => scheme != "ckks" ? [new CompareCase("he") { Scheme = scheme, Epochs = request.HeEpochs < epochs ? request.HeEpochs : null }]
            : native ? [new CompareCase("he") { Scheme = scheme, Engine = "node" }, new CompareCase("he") { Scheme = scheme, Engine = "native" }]
            : [new CompareCase("he") { Scheme = scheme }];
        IEnumerable<CompareCase> Private(string mode, Func<CompareCase, CompareCase>? more = null) =>
            request.Epsilons.Select(e => new CompareCase(mode) { Epsilon = e, Delta = delta }).Select(c => more?.Invoke(c) ?? c);
        return
        [
            new("none"), new("guest-only"),
            .. Private("hdp-vfl", c => c with { Calibration = "paper" }), .. Private("hdp-vfl", c => c with { Calibration = "tight" }), .. Private("one-round"),
            .. request.Schemes.SelectMany(Encrypted),
            .. request.Schemes.Contains("ckks") ? Private("he+dp", c => c with { Scheme = "ckks" }) : [],
        ];
    }

    private static string Word(string scheme) => scheme switch { "ckks" => "CKKS", "paillier-fate" => "Paillier as FATE", "paillier-textbook" => "Paillier, textbook", _ => "Paillier" };

    private static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);
}
