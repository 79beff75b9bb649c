using FedLearn.Cli.Services;
using FedLearn.Data;

namespace FedLearn.Cli.RunFiles;

/// <summary>Every key the reader knows, by the object it stands in. The shipped JSON schemas list the same; a test compares them.</summary>
internal static class RunFileKeys
{
    private static readonly string[] Data = ["path", "separator", "decimal", "id", "label", "schema", "ids", "labels", "labelRange", "weight", "offset", "exposure", "firstIndex", "columns", "storage", "scratch"];
    private static readonly string[] Recommendation = ["interactions", "items", "view"];
    private static readonly string[] TableFile = ["path", "schema", "decimal"];
    private static readonly string[] Tower = ["torchScript"];
    private static readonly string[] Budget = ["epsilon", "delta"];
    private static readonly string[] Ledger = ["path", "budget"];
    private static readonly string[] JobAlignment = ["method", "output", "proof"];
    private static readonly string[] Tls = ["certificate", "key", "passwordVariable", "peers", "authorities", "deny", "revocationLists"];
    private static readonly string[] Relay = ["address", "pins"], Proxy = ["address", "user", "passwordVariable", "passwordFile"];
    private static readonly string[] PartyAlignment = ["padTo", "threads", "engine", "sessionsPerDay", "peerIds", "state"];

    /// <summary>Keys of job.json. <c>[]</c> stands for any element of an array.</summary>
    public static readonly IReadOnlyDictionary<string, string[]> Job = new Dictionary<string, string[]>
    {
        [""] = ["$schema", "name", "model", "training", "privacy", "parties", "preprocessing", "alignment", "evaluation", "transport"],
        ["model"] = ["type", "family", "l2", "l1", "intercept", "classes", "power"],
        ["training"] = ["epochs", "batchesPerEpoch", "batchSize", "stepSize", "weightNorm", "residualClip", "optimizer", "seed", "messagePrecision", "latticeBits", "checkpointRounds", "reshuffle", "momentum",
            "warmStart", "classWeights", "sampleWeightBound", "offsetBound", "earlyStopping"],
        ["training.earlyStopping"] = ["metric", "patience", "minDelta", "holdOut"],
        ["privacy"] = ["mode", "calibration", "epsilon", "delta", "adjacency", "unit", "share", "evaluation", "evaluationShare", "testNoiseSeed", "oneRound", "he"],
        ["privacy.he"] = ["scheme", "keyBits", "arbiter", "rowsPerColumn", "mostRounds", "engine", "workers"],
        ["privacy.oneRound"] = ["scoreClip", "alpha", "gradientClip", "labelRate"],
        ["parties[]"] = ["name", "role", "data", "privacy", "ledger", "split", "alignment"],
        ["parties[].data"] = Data,
        ["parties[].privacy"] = Budget,
        ["alignment"] = JobAlignment,
        ["parties[].alignment"] = PartyAlignment,
        ["parties[].ledger"] = Ledger,
        ["parties[].ledger.budget"] = Budget,
        ["parties[].split"] = ["path"],
        ["preprocessing"] = ["scaling", "rows", "constant", "rowNorm"],
        ["evaluation"] = ["split", "inference"],
        ["evaluation.split"] = ["path", "hash", "mod", "test"],
        ["transport"] = ["kind", "timeoutSeconds", "connectTimeoutSeconds", "resumeSeconds", "maxMessageBytes"],
    };

    /// <summary>Keys of the job.json of a recommendation model. The names under <c>model.viewWeights</c> are those of its views.</summary>
    public static readonly IReadOnlyDictionary<string, string[]> Dssm = new Dictionary<string, string[]>
    {
        [""] = ["$schema", "name", "model", "training", "privacy", "sampleTime", "maskedSum", "parties", "alignment", "transport"],
        ["model"] = ["type", "fusion", "layers", "activation", "layerNorm", "dropout", "gamma", "loss", "negatives", "negativeSource", "viewDropout", "viewWeights", "itemBias",
            "precision"],
        ["training"] = ["mode", "epochs", "batchSize", "optimizer", "stepSize", "weightDecay", "validationStop", "patience", "seed", "threads", "checkpointRounds", "device"],
        ["training.device"] = [],
        ["privacy"] = ["mode", "noise", "claim", "epsilon", "delta", "unit", "clip", "parameterClip", "messageShare", "historyEvents", "maxSamplesPerUser", "evaluation", "testNoiseSeed"],
        ["parties[]"] = ["name", "role", "data", "hasView", "tower", "itemTower", "privacy", "ledger", "alignment"],
        ["parties[].data"] = Recommendation,
        ["parties[].data.items"] = TableFile,
        ["parties[].data.view"] = TableFile,
        ["parties[].tower"] = Tower,
        ["parties[].itemTower"] = Tower,
        ["parties[].privacy"] = Budget,
        ["alignment"] = JobAlignment,
        ["parties[].alignment"] = PartyAlignment,
        ["parties[].ledger"] = Ledger,
        ["parties[].ledger.budget"] = Budget,
        ["transport"] = Job["transport"],
    };

    /// <summary>Keys of party.json of a recommendation model.</summary>
    public static readonly IReadOnlyDictionary<string, string[]> DssmParty = new Dictionary<string, string[]>
    {
        [""] = ["$schema", "job", "party", "data", "listen", "peers", "relay", "proxy", "tls", "allowPlaintext", "ledger", "alignment", "service", "quotas", "timeoutSeconds", "connectTimeoutSeconds", "resumeSeconds"],
        ["relay"] = Relay,
        ["proxy"] = Proxy,
        ["data"] = Recommendation,
        ["data.items"] = TableFile,
        ["data.view"] = TableFile,
        ["tls"] = Tls,
        ["alignment"] = PartyAlignment,
        ["ledger"] = Ledger,
        ["ledger.budget"] = Budget,
        ["service"] = ServiceSettings.Keys,
        ["quotas"] = ServiceSettings.QuotaKeys,
    };

    /// <summary>Keys of party.json. The names under <c>peers</c>, <c>tls.peers</c> and <c>serve.fallback</c> are the job's.</summary>
    public static readonly IReadOnlyDictionary<string, string[]> Party = new Dictionary<string, string[]>
    {
        [""] = ["$schema", "job", "party", "data", "listen", "peers", "relay", "proxy", "tls", "allowPlaintext", "ledger", "alignment", "serve", "service", "quotas", "timeoutSeconds", "connectTimeoutSeconds", "resumeSeconds"],
        ["relay"] = Relay,
        ["proxy"] = Proxy,
        ["data"] = Data,
        ["tls"] = Tls,
        ["alignment"] = PartyAlignment,
        ["ledger"] = Ledger,
        ["ledger.budget"] = Budget,
        ["serve"] = ["rest", "timeoutMilliseconds", "fallback"],
        ["service"] = ServiceSettings.Keys,
        ["quotas"] = ServiceSettings.QuotaKeys,
    };

    /// <summary>Keys of coordinator.json. The names under <c>tls.peers</c> are those of the jobs' parties.</summary>
    public static readonly IReadOnlyDictionary<string, string[]> Coordinator = new Dictionary<string, string[]>
    {
        [""] = ["$schema", "listen", "allowPlaintext", "tls", "jobs", "quotas", "health", "stopSeconds"],
        ["tls"] = Tls,
        ["quotas"] = ["connections", "connectionsPerParty", "bytesPerParty", "joinsPerMinute", "connectionsPerAddress", "streams", "allConnections"],
    };

    /// <summary>The candidate that differs from a word in so few letters that it was most likely meant; null for none. A word that was never near would mislead, and
    /// <c>none</c> as the nearest mode would cost the privacy that was asked for.</summary>
    /// <param name="word">What was written.</param>
    /// <param name="candidates">What could have been meant; at least one.</param>
    public static string? Meant(string word, IEnumerable<string> candidates) =>
        Spelling.Meant(word, candidates);
}
