using System.CommandLine;
using FedLearn.Cli.Output;
using FedLearn.Cli.Recommend;
using FedLearn.Cli.Running;
using FedLearn.Cli.Services;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Commands;

/// <summary>What <c>fedlearn party</c> does.</summary>
internal enum PartyVerb
{
    /// <summary>Print the values that hold.</summary>
    ShowConfig,

    /// <summary>Print the digest of the job's terms.</summary>
    Digest,

    /// <summary>Train in session after session.</summary>
    Service,

    /// <summary>Answer online predictions.</summary>
    Serve,

    /// <summary>Train once.</summary>
    Train,

    /// <summary>Score rows, or make lists, with a model.</summary>
    Predict,

    /// <summary>Measure a model.</summary>
    Evaluate,
}

/// <summary>What a command line asks of <c>fedlearn party</c>.</summary>
/// <param name="Verb">What to do.</param>
/// <param name="Files">Party files; one, but for a service and what is shown.</param>
/// <param name="Overrides">Values in place of the files'.</param>
internal sealed record PartyChoice(PartyVerb Verb, string[] Files, FileOverrides Overrides)
{
    /// <summary>What the parties' terms call it.</summary>
    public required string Purpose { get; init; }

    /// <summary>Folder of models as given; null where none is.</summary>
    public string? Model { get; init; }

    /// <summary>Where the active party writes scores or lists; null but for a prediction.</summary>
    public string? Output { get; init; }

    /// <summary>Whether what lists are made is given.</summary>
    public bool HasLists { get; init; }

    /// <summary>Whether the parties agree that lists may be for users of whom the active party has no events.</summary>
    public bool NewUsers { get; init; }

    /// <summary>Whether a run that was cut off is forgotten.</summary>
    public bool Fresh { get; init; }

    /// <summary>Whether a model is to be measured.</summary>
    public bool Evaluates { get; init; }

    /// <summary>Whether it is about a service.</summary>
    public bool IsService { get; init; }

    /// <summary>Where the report goes.</summary>
    public required ReportPlaces Places { get; init; }
}

/// <summary>Options of <c>fedlearn party</c>.</summary>
internal sealed class PartyOptions
{
    private const string Place = "fedlearn party";

    private readonly Option<string[]> _config = new("--config") { Description = "Party file (JSON with comments): job, party, data, listen or peers. With --service once for each job.", Required = true, HelpName = "FILE" };

    private readonly Option<string?> _model = new("--model") { Description = "Save this party's part of the model as DIR/PARTY.model.json; --predict, --evaluate and --serve read it there. Default for these: models.", HelpName = "DIR" };

    private readonly Option<string?> _predict = new("--predict")
    {
        Description = "Predict with the model of --model instead of training. The active party writes id,score,prediction here (recommendation jobs: the users' lists). A passive party writes nothing: give any name.",
        HelpName = "FILE",
    };

    private readonly Option<bool> _evaluate = new("--evaluate") { Description = "Recommendation jobs: evaluate the model of --model instead of training, as recommend evaluate does; the active party has the figures." };

    private readonly TopKOptions _lists = new();

    private readonly Option<bool> _newUsers = new("--new-users")
    {
        Description = "With --predict, at every party or at none: --users may name people of whom the active party has no events. Passive parties send vectors of these people too.",
    };

    private readonly Option<bool> _serve = new("--serve") { Description = "Passive party: answer the active party's online predictions with the model of --model, and do nothing else, until Ctrl-C." };

    private readonly Option<bool> _fresh = Options.Fresh();

    private readonly Option<bool> _service = new("--service") { Description = "Run as a daemon: take part in one session after the other, of one or several jobs, each by itself, until SIGTERM or Ctrl-C. An active party's job runs once." };

    private readonly Option<string?> _results = new("--results") { Description = "With --service: folder of results. Each session gets JOB/PARTY/TIME-SESSION in it, with report and model. Default results.", HelpName = "DIR" };

    private readonly Option<string?> _health = new("--health") { Description = "With --service: answer GET /healthz and GET /readyz at this address. Default: nowhere.", HelpName = "HOST:PORT" };

    private readonly Option<double?> _stopSeconds = Options.Number("--stop-seconds", "With --service: how long a stop waits for sessions to end; above 0, at most 3600. Default 30.", required: false);

    private readonly Option<string[]> _set = new("--set") { Description = "Set a key of the party file, such as timeoutSeconds=30 or peers.bank=10.0.0.5:5301. Overrides FEDLEARN_PARTY__TIMEOUTSECONDS, which overrides the file.", HelpName = "KEY=VALUE" };

    private readonly Option<bool> _showConfig = new("--show-config") { Description = "Print every setting in force and where it comes from, as JSON, and stop." };

    private readonly Option<string?> _report = Options.Report(), _html = Options.Html();

    private readonly Option<bool> _digest = new("--digest") { Description = "Print the SHA-256 of the job's terms, which must be equal at every party, and stop." };

    private readonly Option<bool> _json = Options.Json();

    /// <summary>The options, in the order that help shows.</summary>
    public Option[] All => [_config, _model, _predict, .. _lists.All, _newUsers, _evaluate, _serve, _fresh, _service, _results, _health, _stopSeconds, _set, _showConfig, _report, _html, _digest, _json];

    /// <summary>What is asked for.</summary>
    /// <param name="parsed">Command line.</param>
    /// <exception cref="ConfigurationException">FL2101: options disagree.</exception>
    public PartyChoice Read(ParseResult parsed)
    {
        bool serves = parsed.GetValue(_serve), isService = parsed.GetValue(_service), evaluates = parsed.GetValue(_evaluate), hasLists = _lists.IsAnyIn(parsed), newUsers = parsed.GetValue(_newUsers);
        string? predicted = parsed.GetValue(_predict);
        string purpose = serves ? GrpcRelay.Serve : predicted is not null ? GrpcRelay.Predict : evaluates ? GrpcRelay.Evaluate : GrpcRelay.Train;
        var choice = new PartyChoice(
            parsed.GetValue(_showConfig) ? PartyVerb.ShowConfig : isService ? PartyVerb.Service : parsed.GetValue(_digest) ? PartyVerb.Digest : serves ? PartyVerb.Serve
                : predicted is not null ? PartyVerb.Predict : evaluates ? PartyVerb.Evaluate : PartyVerb.Train,
            parsed.GetRequiredValue(_config), FileOverrides.Here(parsed.GetValue(_set) ?? []))
        {
            Purpose = purpose,
            Model = parsed.GetValue(_model),
            Output = predicted,
            HasLists = hasLists,
            NewUsers = newUsers,
            Fresh = parsed.GetValue(_fresh),
            Evaluates = evaluates,
            IsService = isService,
            Places = ReportPlaces.Of(parsed, _json, _report, _html),
        };
        bool reports = parsed.GetValue(_report) is not null || parsed.GetValue(_html) is not null || parsed.GetValue(_json);
        if (!isService && choice.Files.Length > 1)
            throw Disagree("several party files are for a service.", "Give --service as well, or one --config.");
        if (!isService && (parsed.GetValue(_results) is not null || parsed.GetValue(_health) is not null || parsed.GetValue(_stopSeconds) is not null))
            throw Disagree("--results, --health and --stop-seconds are about a service.", "Give --service as well.");
        if (choice.Verb == PartyVerb.ShowConfig)
            return choice;
        if (predicted is null ? hasLists || newUsers : evaluates)
            throw Disagree(evaluates ? "an evaluation makes no lists." : "--k, --users, --vectors, --include-met and --new-users are about the lists of --predict.",
                evaluates ? "Leave --predict and its options out, or --evaluate." : "Give --predict as well, or leave them out.");
        if (isService && (predicted is not null || evaluates || reports || choice.Model is not null || serves || parsed.GetValue(_digest)))
            throw Disagree("--service trains in session after session, and keeps the results of each under --results.", "Leave --serve, --digest, --model, --predict, --evaluate, --report, --html and --json out.");
        if (choice.Verb == PartyVerb.Serve && (predicted is not null || evaluates || reports))
            throw Disagree("--serve answers until it is stopped, and has no result to write.", "Leave --predict, --evaluate, --report, --html and --json out.");
        if (choice.Verb == PartyVerb.Predict && choice.Places.Html is not null)
            throw Disagree("--html is about a training, and --predict scores rows with its model.", "Leave one of them out; --report writes what there is to say of a prediction.");
        return choice;
    }

    /// <summary>Settings of a service.</summary>
    /// <param name="parsed">Command line.</param>
    /// <param name="overrides">The environment's.</param>
    /// <exception cref="ConfigurationException">A value cannot be used (FL2006, FL2012).</exception>
    public ServiceOptions Service(ParseResult parsed, FileOverrides overrides) => ServiceOptions.Of(overrides, parsed.GetValue(_results), parsed.GetValue(_health), parsed.GetValue(_stopSeconds));

    /// <summary>Which lists are asked for.</summary>
    /// <param name="parsed">Command line.</param>
    /// <exception cref="ConfigurationException">FL2455: a list of fewer than one item. FL2102: the vectors cannot be written.</exception>
    public TopKRequest Lists(ParseResult parsed) => _lists.Read(parsed, parsed.GetValue(_newUsers));

    /// <summary>The error for options that do not go together.</summary>
    public static ConfigurationException Disagree(string cause, string remedy) => new(CliErrors.OptionsDisagree, Place, cause, remedy);
}
