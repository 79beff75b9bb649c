using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.RegularExpressions;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Running;
using FedLearn.Cli.Services;
using FedLearn.Cli.Serving;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Tests;

public class ToolTests
{
    [Theory]
    [InlineData("--help")]
    [InlineData("privacy", "--help")]
    [InlineData("privacy", "calibrate", "--help")]
    [InlineData("privacy", "gaussian", "--help")]
    [InlineData("privacy", "account", "-h")]
    [InlineData("model", "--help")]
    [InlineData("model", "show", "--help")]
    [InlineData("model", "export", "--help")]
    [InlineData("keys", "--help")]
    [InlineData("keys", "new", "--help")]
    [InlineData("keys", "show", "--help")]
    public async Task Help_AnyVerb_TeachesOnStandardOutput(params string[] args)
    {
        ToolRun run = await ToolRun.Of(args);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.Contains("fedlearn", run.Output, StringComparison.Ordinal);
        if (args.Length > 2)
            Assert.Contains("Example", run.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("audit")]
    [InlineData("frobnicate", "--x")]
    public async Task Run_UnknownVerb_IsUsage(params string[] args)
    {
        ToolRun run = await ToolRun.Of(args);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains(CliErrors.Usage, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_SeveralFaultsOfACommandLine_AreToldTogether()
    {
        ToolRun run = await ToolRun.Of("privacy", "gaussian", "--epsilon", "one", "--delta", "two");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.All((string[])["--epsilon: 'one' is no number.", "--delta: 'two' is no number.", "Try 'fedlearn privacy gaussian --help'."], said => Assert.Contains(said, run.Error, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Help_Root_HasTheFirstSentenceOfEachVerb()
    {
        Command[] verbs = [.. RootCommandFactory.Create([]).Subcommands.Where(verb => !verb.Hidden)];
        int width = verbs.Max(verb => verb.Name.Length);
        string help = (await ToolRun.Of("--help")).Output;
        string[] lines = [.. help.ReplaceLineEndings("\n").Split('\n').Where(line => line.StartsWith("  ", StringComparison.Ordinal) && !line.StartsWith("  --", StringComparison.Ordinal))];
        Assert.Equal(verbs.Select(verb => $"  {verb.Name.PadRight(width)}  {FirstSentence(verb.Description!)}"), lines);
        Assert.All(lines, line => Assert.InRange(line.Length, 41, 149));
        Assert.Contains("Examples:", (await ToolRun.Of("train", "--help")).Output, StringComparison.Ordinal);
    }

    // Twice is a command line like any other; once is answered before one is built.
    [Theory]
    [InlineData]
    [InlineData("-h")]
    [InlineData("-?")]
    [InlineData("--help", "--help")]
    public async Task Help_Root_HoweverAsked_IsTheSame(params string[] args) => Assert.Equal(await ToolRun.Of("--help"), await ToolRun.Of(args));

    /// <summary>A reader of help types what it prints.</summary>
    [Fact]
    public async Task Help_OfEveryVerb_PrintsDefaultsThatTheOptionsAccept()
    {
        Command root = RootCommandFactory.Create([]);
        foreach (Verb verb in root.Subcommands.OfType<Verb>())
            verb.Fill();
        int words = 0, defaults = 0;
        foreach ((Command command, string[] path) in Below(root, []))
        {
            string[] entries = Regex.Split((await ToolRun.Of([.. path, "--help"])).Output.ReplaceLineEndings("\n").Split("\nOptions:\n")[^1], @"\n(?=  -)");
            foreach (Match entry in entries.Select(entry => Regex.Match(entry, @"^ *(--\S+) .*\[default: (.*)\]", RegexOptions.Singleline)).Where(match => match.Success))
            {
                (string name, string printed) = (entry.Groups[1].Value, entry.Groups[2].Value);
                ParseResult parsed = root.Parse([.. path, name, printed]);
                Option option = Assert.Single(command.Options, option => option.Name == name);
                Assert.Equal([printed], parsed.GetResult(option)!.Tokens.Select(token => token.Value));
                Assert.DoesNotContain(parsed.Errors, error => error.SymbolResult is OptionResult of ? of.Option == option : error.SymbolResult is ArgumentResult);
                Assert.DoesNotContain(parsed.Errors, error => error.Message.Contains(printed, StringComparison.Ordinal) && error.Message.Contains(name, StringComparison.Ordinal));
                defaults++;
                words += option.HelpName!.Split('|').Contains(printed) ? 1 : 0;
            }
        }

        Assert.True(words >= 8, $"{words} words"); // of choices; the pattern finds them
        Assert.True(defaults > words);
        Assert.DoesNotContain("[default: ", Regex.Match((await ToolRun.Of("align", "--help")).Output, @"--output.*?--proof", RegexOptions.Singleline).Value, StringComparison.Ordinal); // the job's own
    }

    private static IEnumerable<(Command Command, string[] Path)> Below(Command command, string[] path) =>
        command.Subcommands.Where(verb => !verb.Hidden).SelectMany(verb => Below(verb, [.. path, verb.Name]).Prepend((verb, [.. path, verb.Name])));

    /// <summary>A description up to its first full stop or colon.</summary>
    private static string FirstSentence(string description)
    {
        int end = 0;
        while (end < description.Length && !(description[end] is '.' or ':' && (end + 1 == description.Length || char.IsWhiteSpace(description[end + 1]))))
            end++;
        return description[..end].ReplaceLineEndings(" ");
    }

    [Theory]
    [InlineData("privacy", "one-round", "--rows", "100", "--epsilon", "1", "--delta", "1e-5", "--label-range", "0,1", "--label-range", "0,2")]
    [InlineData("compare", "--config", "job.json", "--epsilons", "1", "--epsilons", "2")]
    [InlineData("compare", "--config", "job.json", "--epsilons", "1", "--he", "ckks", "--he", "paillier")]
    public async Task List_GivenTwice_IsAUsageError(params string[] args)
    {
        ToolRun run = await ToolRun.Of(args);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL2100)", run.Error, StringComparison.Ordinal);
        Assert.StartsWith($"fedlearn {args[0]}", run.Error, StringComparison.Ordinal); // and not once more before it
        Assert.Contains($"'{args[^2]}'", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_Root_ListsNoVerbThatDoesNotExist() => Assert.DoesNotContain("audit", (await ToolRun.Of("--help")).Output, StringComparison.Ordinal);

    [Fact]
    public void OutputFile_Write_ReplacesWholeFile()
    {
        using var folder = new TempFolder();
        string path = Path.Combine(folder.Path, "sub", "out.json");
        OutputFile.Write(path, "first");
        OutputFile.Write(path, "second");
        Assert.Equal("second", File.ReadAllText(path));
        Assert.Single(Directory.GetFiles(Path.GetDirectoryName(path)!));
    }

    [Fact]
    public void OutputFile_FolderInTheWay_RefusesAndLeavesNothing()
    {
        using var folder = new TempFolder();
        Assert.Equal(CliErrors.CannotWrite, Assert.Throws<Diagnostics.ConfigurationException>(() => OutputFile.Write(folder.Path, "text")).Id);
        Assert.Empty(Directory.GetFiles(Path.GetDirectoryName(folder.Path)!, Path.GetFileName(folder.Path) + ".*"));
    }

    [Fact]
    public async Task StandardOutput_Full_IsRefusedWithItsId()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "There is no device that is always full elsewhere.");
        await using var full = new StreamWriter(new FileStream("/dev/full", FileMode.Open, FileAccess.Write, FileShare.ReadWrite, 0)) { AutoFlush = true };
        await using var output = new Output.StandardOutput(full);
        await using var error = new StringWriter();

        int code = await Tool.RunAsync(["privacy", "gaussian", "--epsilon", "1", "--delta", "1e-5", "--json"], output, error, TestContext.Current.CancellationToken);
        int help = await Tool.RunAsync([], output, error, TestContext.Current.CancellationToken);

        Assert.Equal((2, 2), (code, help));
        Assert.StartsWith("fedlearn: standard output: the disk is full.", error.ToString(), StringComparison.Ordinal);
        Assert.Contains("one that had ended is trained again, and charged again in a private mode", error.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error.ToString(), StringComparison.Ordinal);
    }

    /// <summary>What is under way at Ctrl-C may need all of its time: the usual limit of two seconds would cut off answers, connections and what a ledger has to settle.</summary>
    [Fact]
    public async Task ProcessTerminationTimeout_OfVerbsThatEndInOrder_IsWhatTheirEndMayTake()
    {
        using var scene = new Scene();
        string job = scene.Job();
        (string bank, string telco) = scene.Parties(Scene.FreePort());
        scene.Edit("telco.party.json", 1, line => line.Replace("\"party\":", "\"serve\": { \"timeoutMilliseconds\": 7000 }, \"party\":", StringComparison.Ordinal));
        scene.Write("results", "a file in the way of the folder");
        // Each is refused once it has said what its end may take.
        Assert.Equal(TuningRunner.EndTime, await EndTimeAsync("train", "--config", job, "--cross-validate", "1"));
        Assert.Null(await EndTimeAsync("train", "--config", job, "--model", scene.At("bank.csv")));
        Assert.Equal(CompareRunner.EndTime, await EndTimeAsync("compare", "--config", job, "--epsilons", "1"));
        Assert.Equal(TimeSpan.FromSeconds(7) + ActiveServer.EndTime, await EndTimeAsync("serve", "--config", telco, "--model", scene.At("models")));
        Assert.Equal(TimeSpan.FromSeconds(9) + ServiceOptions.EndTime, await EndTimeAsync("party", "--service", "--config", bank, "--results", scene.At("results"), "--stop-seconds", "9"));
        using var taken = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        taken.Start();
        string coordinator = scene.Write("coordinator.json", $$"""{ "listen": "{{taken.LocalEndpoint}}", "jobs": ["job.json"], "stopSeconds": 11 }""");
        Assert.Equal(TimeSpan.FromSeconds(11) + Coordinator.EndTime, await EndTimeAsync("coordinator", "--config", coordinator));
    }

    private static async Task<TimeSpan?> EndTimeAsync(params string[] args)
    {
        TimeSpan? usual = new InvocationConfiguration().ProcessTerminationTimeout;
        var configuration = new InvocationConfiguration { Output = TextWriter.Null, Error = TextWriter.Null, EnableDefaultExceptionHandler = false };
        await Assert.ThrowsAnyAsync<FedLearnException>(() => RootCommandFactory.Create(args).Parse(args).InvokeAsync(configuration, TestContext.Current.CancellationToken));
        return configuration.ProcessTerminationTimeout == usual ? null : configuration.ProcessTerminationTimeout;
    }

    public static TheoryData<Exception, int, string> Failures => new()
    {
        { new ConfigurationException("FL2999", "place", "cause.", "remedy."), 2, "FL2999" },
        { new BadInputException("FL3999", "place", "cause.", "remedy."), 3, "FL3999" },
        { new PeerException("FL4999", "place", "cause.", "remedy."), 4, "FL4999" },
        { new PrivacyRefusedException("FL5999", "place", "cause.", "remedy."), 5, "FL5999" },
        { new InternalFailureException("FL6999", "place", "cause.", "remedy."), 6, "FL6999" },
        { new InvalidOperationException("secret 17.25"), 6, CliErrors.Unexpected },
        { new OperationCanceledException("secret 17.25"), Tool.Interrupted, "interrupted" },
    };

    [Theory]
    [MemberData(nameof(Failures))]
    public async Task Run_VerbThrows_PrintsIdAndEndsWithItsExitCode(Exception failure, int exitCode, string part)
    {
        var root = new Command("fedlearn");
        root.SetAction((_, _) => Task.FromException(failure));
        using StringWriter output = new(), error = new();
        Assert.Equal(exitCode, await Tool.RunAsync(root, [], output, error, TestContext.Current.CancellationToken));
        Assert.Empty(output.ToString());
        Assert.Contains(part, error.ToString(), StringComparison.Ordinal);
        Assert.Equal(exitCode != Tool.Interrupted, error.ToString().Contains($"See docs/errors/{part}.md", StringComparison.Ordinal));
        Assert.Equal(part == CliErrors.Unexpected, error.ToString().Contains("   at ", StringComparison.Ordinal));
        Assert.DoesNotContain("17.25", error.ToString(), StringComparison.Ordinal);
    }
}
