using FedLearn.Alignment;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Cli.RunFiles;

/// <summary>The party of a real session whose machine this is.</summary>
/// <param name="Party">Its name in the job.</param>
/// <param name="Data">Its table, when party.json replaces the job's.</param>
/// <param name="Recommendation">Its tables, when party.json replaces those of a recommendation job.</param>
/// <param name="Ledger">Its ledger, when party.json names one; what that leaves out is the job's.</param>
/// <param name="Alignment">Its own part of private set intersection, given what the job says of it and the path of its ledger.</param>
internal sealed record OwnSide(string Party, PartyTable? Data, DssmData? Recommendation, OwnLedger? Ledger, Func<PartyAlignment, PartyAlignment> Alignment)
{
    /// <summary>The side of somebody who connects the parties and is none of them: no party's data need be named.</summary>
    public static OwnSide Nobody { get; } = new("", null, null, null, below => below);
}

/// <summary>A ledger that party.json names.</summary>
/// <param name="Ledger">It, with defaults for what is left out.</param>
/// <param name="Has">Whether a key is given.</param>
internal sealed record OwnLedger(RunFileLedger Ledger, Func<string, bool> Has);

/// <summary>Reads one job.json: what every kind of job has.</summary>
/// <param name="path">File.</param>
/// <param name="self">In a real session, this machine's side. Null: all parties run here.</param>
/// <param name="settings">Values that stand in for those of the file; null for none.</param>
internal abstract class RunFileReader(string path, OwnSide? self, IReadOnlyList<RunFileSetting>? settings = null)
{
    private const double LargestSeconds = 86_400, LeastSeconds = 0.001;

    /// <summary>Kinds of models.</summary>
    protected static readonly (string Word, JobKind Meaning)[] Types = [("glm", JobKind.Glm), ("dssm", JobKind.Dssm)];

    /// <summary>What is sent to evaluate a model.</summary>
    protected static readonly (string, EvaluationDisclosure)[] Evaluations =
        [("disclosed", EvaluationDisclosure.Disclosed), ("none", EvaluationDisclosure.None), ("charged", EvaluationDisclosure.Charged)];

    private static readonly (string, TransportKind)[] Transports = [("grpc", TransportKind.Grpc), ("in-memory", TransportKind.InMemory)];

    /// <summary>What is wrong with the file.</summary>
    protected Faults Faults { get; } = new(path)
    {
        Written = (settings ?? []).Where(s => s.Option is not null).ToDictionary(s => s.Key, s => $"{s.Option}, {s.Key}={s.Text}"),
    };

    /// <summary>Values that stand in for those of the file; null for none.</summary>
    protected IReadOnlyList<RunFileSetting>? Settings { get; } = settings;

    /// <summary>Paths of keys without effect.</summary>
    protected List<string> Ignored { get; } = [];

    /// <summary>Name of the arbiter of an encrypted job; null elsewhere.</summary>
    protected string? Arbiter { get; set; }

    /// <summary>Whether the job is read for its common rows alone, which any of the parties may be the one to learn.</summary>
    public bool AlignsOnly { get; init; }

    /// <summary>Sentences for the report.</summary>
    protected List<string> Warnings { get; } = [];

    /// <summary>In a real session, this machine's side.</summary>
    protected OwnSide? Self { get; } = self;

    /// <summary>Reads the file, or throws one error with all of its faults.</summary>
    public abstract RunFile Read();

    /// <summary>The reader for the kind of job that a file describes.</summary>
    /// <param name="path">File.</param>
    /// <param name="self">In a real session, this machine's side. Null: all parties run here.</param>
    /// <param name="settings">Values that stand in for those of the file; null for none.</param>
    /// <param name="alignsOnly">As <see cref="AlignsOnly"/>.</param>
    /// <exception cref="ConfigurationException">The file cannot be read (FL2001) or is no JSON object (FL2002).</exception>
    public static RunFileReader For(string path, OwnSide? self = null, IReadOnlyList<RunFileSetting>? settings = null, bool alignsOnly = false) =>
        KindOf(path) == JobKind.Dssm ? new DssmRunFileReader(path, self) { AlignsOnly = alignsOnly } : new GlmRunFileReader(path, self, settings) { AlignsOnly = alignsOnly };

    /// <summary>What kind of job a file describes; nothing else in it is looked at.</summary>
    /// <param name="path">File.</param>
    /// <exception cref="ConfigurationException">The file cannot be read (FL2001) or is no JSON object (FL2002).</exception>
    public static JobKind KindOf(string path) =>
        Section.Load(new Faults(path), RunFileKeys.Job).Says("model", "type", "dssm") ? JobKind.Dssm : JobKind.Glm;

    /// <summary>Epsilon and delta.</summary>
    protected static (double? Epsilon, double? Delta) Budget(Section section)
    {
        double? epsilon = section.Positive("epsilon"), delta = section.Positive("delta");
        if (delta >= 0.1)
            section.Fault(RunFileErrors.DeltaTooLarge, "delta", "at 0.1 or more the promise is empty: it would allow publishing a tenth of the rows.",
                "Use a delta well below 1 / number of rows.");
        return (epsilon, delta);
    }

    /// <summary>A party's own budget: it may replace epsilon, delta or both, and what it leaves out is the job's. Null where it replaces nothing.</summary>
    /// <param name="party">The party.</param>
    /// <param name="jobPrivacy">The job's <c>privacy</c>.</param>
    /// <param name="job">Epsilon and delta of the job.</param>
    /// <param name="remedy">As that of <see cref="RequireMode"/>.</param>
    /// <param name="noises">Whether the party adds noise; else its budget has no effect.</param>
    /// <param name="isRequired">Whether the party or the job must have one.</param>
    /// <param name="isPure">Whether delta is 0, whatever is written.</param>
    protected PrivacyBudget? OwnBudget(Section party, Section jobPrivacy, (double? Epsilon, double? Delta) job, string remedy, bool noises, bool isRequired = true, bool isPure = false)
    {
        Section own = party.Object("privacy");
        if (!noises)
        {
            RequireMode(jobPrivacy, own, remedy, "epsilon", "delta");
            Ignore(own, "epsilon", "delta");
            return null;
        }

        (double? epsilon, double? delta) = Budget(own);
        if (isPure)
        {
            Ignore(own, "delta");
            delta = 0;
        }

        if (isRequired && !own.Has("epsilon") && !jobPrivacy.Has("epsilon"))
            own.Require("epsilon", "Write a finite number above 0 here, or for all parties as privacy.epsilon.");
        if (isRequired && !isPure && !own.Has("delta") && !jobPrivacy.Has("delta"))
            own.Require("delta", "Write a number above 0 and below 0.1 here, or for all parties as privacy.delta.");
        return party.Has("privacy") && (epsilon ?? job.Epsilon) is { } e && (delta ?? job.Delta) is { } d ? new PrivacyBudget(e, d) : null;
    }

    /// <summary>Whether a text can be the name of a party: it becomes part of file names (NAME.model.json, NAME.ledger.db) and travels in headers.</summary>
    internal static bool IsPartyName(string name) =>
        name.Length is > 0 and <= 64 && char.IsAsciiLetterOrDigit(name[0]) && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');

    /// <summary>The name of a party.</summary>
    protected static string PartyName(Section party, string key = "name")
    {
        string name = party.Text(key) ?? "";
        if (name.Length > 0 && !IsPartyName(name))
            party.Fault(RunFileErrors.Parties, key, "a name is also part of file names.", "Use up to 64 of the letters a to z and A to Z, digits, '-', '_' and '.', a letter or digit first.");
        return name;
    }

    /// <summary>The ledger that a party of job.json, or a party.json, names under <c>ledger</c>, with defaults for what it leaves out.</summary>
    /// <param name="owner">The object that has the key.</param>
    /// <param name="party">Name of the party.</param>
    internal static RunFileLedger LedgerOf(Section owner, string party)
    {
        Section ledger = owner.Object("ledger"), budget = ledger.Object("budget");
        if (ledger.Has("budget"))
        {
            budget.Require("epsilon", "Write a finite number above 0.");
            budget.Require("delta", "Write a number above 0 and below 0.1.");
        }

        string? path = ledger.FilePath("path");
        if (path is not null && Path.GetFileName(path).Length == 0)
            ledger.Fault(RunFileErrors.OutOfRange, "path", "the path is that of a folder.", $"Write the name of a file, such as \"{party}.ledger.db\".");
        (double? epsilon, double? delta) = Budget(budget);
        return new RunFileLedger
        {
            Path = path is not null && Path.GetFileName(path).Length > 0 ? path : Path.Combine(owner.Folder, $"{party}.ledger.db"),
            Budget = epsilon is { } e && delta is { } d ? new PrivacyBudget(e, d) : null,
        };
    }

    /// <summary>The ledger of a party, with what its own machine's file says.</summary>
    /// <param name="party">The party's object in the job file.</param>
    /// <param name="name">Its name.</param>
    /// <param name="charges">Whether the job charges ledgers at all.</param>
    protected RunFileLedger OwnLedgerOf(Section party, string name, bool charges)
    {
        if (!charges)
        {
            Ignore(party.Object("ledger"), "budget");
            if (Self?.Party == name && Self.Ledger?.Ledger.Budget is not null)
                Ignored.Add("ledger.budget"); // the key of party.json
        }

        RunFileLedger ledger = LedgerOf(party, name);
        // Key by key: a party file that names a budget alone must not lose the job's path, nor the other way round.
        return Self?.Party == name && Self.Ledger is { } mine
            ? new RunFileLedger { Path = mine.Has("path") || !party.Object("ledger").Has("path") ? mine.Ledger.Path : ledger.Path, Budget = mine.Ledger.Budget ?? ledger.Budget }
            : ledger;
    }

    /// <summary>A party's own part of private set intersection, with what its own machine's file says.</summary>
    protected PartyAlignment OwnAlignmentOf(Section party, string name, RunFileLedger ledger)
    {
        PartyAlignment alignment = PartyAlignment.Of(party, name, ledger.Path);
        return Self?.Party == name ? Self.Alignment(alignment) : alignment;
    }

    /// <summary>How the common rows are found: a word, or an object with more of it.</summary>
    /// <param name="file">The job file.</param>
    /// <param name="transport">How the parties reach each other.</param>
    /// <param name="parties">Number of parties.</param>
    protected JobAlignment AlignmentOf(Section file, TransportSettings transport, int parties)
    {
        bool inMemory = Self is null && transport.Kind == TransportKind.InMemory;
        AlignmentMethod method = inMemory ? AlignmentMethod.Hashed : AlignmentMethod.Psi;
        PsiOutput output = PsiOutput.Both;
        bool proof = false;
        if (file.IsObject("alignment"))
        {
            Section section = file.Object("alignment");
            section.Require("method", "Write hashed or psi.");
            method = section.Word("method", JobAlignment.Methods, method);
            output = section.Word("output", JobAlignment.Outputs, PsiOutput.Both);
            proof = section.Flag("proof") ?? false;
            if (method == AlignmentMethod.Hashed)
                Ignore(section, "output", "proof");
            else if (proof && output == PsiOutput.SizeOnly)
                section.Fault(RunFileErrors.Contradiction, "proof", "a proof shows which of the receiver's ids a point belongs to, which an output of the size alone hides.", "Choose one of the two.");
            if (method == AlignmentMethod.Psi && output != PsiOutput.Both && !AlignsOnly)
                section.Fault(PsiErrors.OutputNotForTraining, "output", $"with the output {JobAlignment.WordOf(output)} a party does not know its common rows, and this verb needs them.",
                    "Write both, or run fedlearn align, which takes every output.");
        }
        else
        {
            method = file.Word("alignment", JobAlignment.Methods, method);
        }

        // A job of hashed ids, too, can be aligned by private set intersection: with the verb that does nothing else.
        if (!AlignsOnly && (parties < 2 || method == AlignmentMethod.Hashed))
            foreach (Section party in file.Objects("parties"))
                Ignore(party, "alignment");
        if (parties < 2)
        {
            Ignore(file, "alignment"); // nobody to align with
            return new JobAlignment(AlignmentMethod.Hashed, PsiOutput.Both, false);
        }

        if (!file.Has("alignment") && method == AlignmentMethod.Hashed && !AlignsOnly)
            Warnings.Add("alignment is absent, and all parties run in memory: ids were compared as hashes, which anyone who can guess an id can test. "
                + "Write \"alignment\": \"psi\", which is the default between processes, or \"hashed\" to keep this.");
        return method == AlignmentMethod.Hashed ? new JobAlignment(method, PsiOutput.Both, false) : new JobAlignment(method, output, proof);
    }

    /// <summary>Adds a fault for each thing that makes a list of parties no session.</summary>
    protected void CheckParties(Section file, IReadOnlyList<RunFileParty> parties)
    {
        if (!file.IsArray("parties"))
            return;
        int active = parties.Count(party => party.Role == PartyRole.Active);
        if (active != 1)
            file.Fault(RunFileErrors.Parties, "parties", $"{active} parties are active.", "Make exactly one party active: the one with the labels.");
        foreach (IGrouping<string, RunFileParty> same in parties.GroupBy(party => party.Name, StringComparer.OrdinalIgnoreCase))
            if (same.Key.Length > 0 && same.Count() > 1)
                file.Fault(RunFileErrors.Parties, "parties", $"{same.Count()} parties are called '{same.Key}'.", "Give each a name of its own, different in more than letter case.");
        if (Arbiter is not null && parties.Any(party => string.Equals(party.Name, Arbiter, StringComparison.OrdinalIgnoreCase)))
            file.Fault(RunFileErrors.Parties, "parties", $"the arbiter has the name of a party, '{Arbiter}'; whoever holds the key must hold no data.", "Give the arbiter another name with privacy.he.arbiter.");
        if (Self is { Party.Length: > 0 } s && s.Party != Arbiter && parties.All(party => party.Name != s.Party))
            file.Fault(RunFileErrors.Parties, "parties", $"the job has no party '{s.Party}', which the party file names.",
                parties.Count > 0 ? $"Did you mean '{Spelling.Nearest(s.Party, parties.Select(p => p.Name))}'?" : "List it.");
    }

    /// <summary>How the parties reach each other.</summary>
    protected TransportSettings Transport(Section transport)
    {
        var defaults = new TransportSettings();
        TransportKind kind = transport.Word("kind", Transports, defaults.Kind);
        if (kind == TransportKind.InMemory && Self is null)
            Ignore(transport, "connectTimeoutSeconds", "resumeSeconds"); // in one process nobody is waited for
        return new TransportSettings
        {
            Kind = kind,
            Timeout = Seconds(transport, "timeoutSeconds") ?? defaults.Timeout,
            ConnectTimeout = Seconds(transport, "connectTimeoutSeconds") ?? defaults.ConnectTimeout,
            ResumeTimeout = ResumeSeconds(transport) ?? defaults.ResumeTimeout,
            MaxMessageBytes = transport.Count("maxMessageBytes", 1 << 10, 1 << 30) ?? defaults.MaxMessageBytes,
        };
    }

    /// <summary>A time limit: a millisecond to a day.</summary>
    internal static TimeSpan? Seconds(Section section, string key)
    {
        if (section.Positive(key, LargestSeconds) is not { } seconds)
            return null;
        if (seconds < LeastSeconds)
            section.Fault(RunFileErrors.OutOfRange, key, "is below a millisecond.", "Write at least 0.001.");
        return TimeSpan.FromSeconds(Math.Max(seconds, LeastSeconds));
    }

    /// <summary>How long lost peers are waited for: 0 to a day.</summary>
    internal static TimeSpan? ResumeSeconds(Section section)
    {
        if (section.NotNegative("resumeSeconds") is not { } seconds)
            return null;
        if (seconds > LargestSeconds)
            section.Fault(RunFileErrors.OutOfRange, "resumeSeconds", "is above a day.", "Write at most 86400; 0 waits for nobody.");
        return TimeSpan.FromSeconds(Math.Min(seconds, LargestSeconds));
    }

    /// <summary>Adds one fault where an object asks for noise and no mode is written: such a file would train in the clear, which only somebody who reads the list of keys without effect would see.</summary>
    /// <param name="privacy">The job's <c>privacy</c>, which decides whether a mode is written.</param>
    /// <param name="section">The object that may ask: <paramref name="privacy"/>, or a party's own.</param>
    /// <param name="remedy">What to write, as a sentence.</param>
    /// <param name="keys">Keys that mean nothing without a mode.</param>
    protected static void RequireMode(Section privacy, Section section, string remedy, params string[] keys)
    {
        if (!privacy.Has("mode") && string.Join(", ", keys.Where(section.Has).Select(section.At)) is { Length: > 0 } written)
            privacy.Fault(RunFileErrors.MissingKey, "mode", $"the key is missing beside {written}, and without it there is no noise.", remedy);
    }

    /// <summary>Lists keys that have no effect.</summary>
    protected void Ignore(Section section, params string[] keys) => Ignored.AddRange(keys.Where(section.Has).Select(section.At));
}
