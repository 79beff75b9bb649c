using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;
using Spectre.Console;

namespace FedLearn.Cli.Commands;

/// <summary><c>fedlearn ledger</c>: what a party's data has cost so far.</summary>
internal static class LedgerCommand
{
    /// <summary>Hex digits of a fingerprint or id that tell it from others in a table.</summary>
    private const int ShortId = 12;

    /// <summary>Builds the command.</summary>
    public static Verb Create() => new("ledger", "Read the ledger of a party: what its jobs have cost the people in its tables.", static command => command.Has(Show(), Verify()));

    private static Option<string> File() => new("--ledger") { Description = "Ledger of one party, such as bank.ledger.db.", Required = true, HelpName = "FILE" };

    private static Command Show()
    {
        Option<string> file = File();
        Option<double?> epsilon = Options.Number("--epsilon", "A lifetime budget, in nats, to see what is left of it; needs --delta.", required: false),
            delta = Options.Number("--delta", "Probability, above 0 and below 0.1, at which totals are told as epsilon. Without it they are told as mu and pure epsilon, which need none.", required: false);
        Option<bool> json = Options.Json();
        var command = new Command("show",
            """
            Show all charges of a ledger, each with the unit that its job protects, and what they add up to for each party, table and unit; and all
            alignments by private set intersection.

            A charge is reserved before the first message of a run leaves, and settled when the run ends. A run that died stays reserved, which
            counts in full. Charges of tables that share rows add up. Totals are for replacing a row (or its label): a zero-out charge counts twice.
            A sum with charges of own messages (recommendation jobs) is "at least": influence through trained parameters is in no sum.
            Alignments cost no budget. A peer that aligned could test as many ids as it brought: the column peer ids says how many.

            Examples:
              fedlearn ledger show --ledger bank.ledger.db
              fedlearn ledger show --ledger bank.ledger.db --epsilon 3 --delta 1e-5 --json
            """)
        { file, epsilon, delta, json };
        command.SetAction(parsed =>
        {
            double? d = parsed.GetValue(delta), e = parsed.GetValue(epsilon);
            if (e is not null && d is null)
                throw new ConfigurationException(CliErrors.OptionsDisagree, "--epsilon", "a budget is an epsilon at a delta.", "Give --delta as well.");
            if (d is { } probability)
                HdpVflCalibration.CheckBudget(e ?? 1, probability);
            LedgerAudit audit = SqliteLedger.Audit(parsed.GetRequiredValue(file));
            (PrivacyCharge Of, Spending Spending)[] tables = [.. Tables(audit.Entries)];
            var document = new JsonObject
            {
                ["rows"] = audit.Rows,
                ["head"] = audit.Head,
                ["fault"] = audit.Fault,
                ["charges"] = new JsonArray([.. audit.Entries.Select(entry => (JsonNode)Charge(entry))]),
                ["alignments"] = new JsonArray([.. audit.Alignments.Select(a => (JsonNode)Alignment(a))]),
                ["totals"] = new JsonArray([.. tables.SelectMany(table => table.Spending.Sums.Select(sum => (JsonNode)Total(table.Of, sum, table.Spending.All, d, e)))]),
                ["warnings"] = new JsonArray([.. tables.SelectMany(table => table.Spending.Caveats.Select(text => (JsonNode)$"{table.Of.Party}, {table.Of.DataSet.Fingerprint[..ShortId]}: {text}"))]),
            };
            Terminal terminal = Terminal.Of(parsed);
            Print(Terminal.ForResult(parsed, parsed.GetValue(json)), document);
            foreach (string caveat in ReportParts.Strings(document["warnings"]))
                terminal.Log($"warning: {caveat}");
            if (audit.Fault is { } fault)
                terminal.Log($"warning: the ledger does not verify: {fault} What is shown are the rows before that.");
            ReportWriter.Print(parsed, json, document);
            audit.ThrowIfBroken();
        });
        return command;
    }

    private static Command Verify()
    {
        Option<string> file = File();
        var since = new Option<string?>("--since")
        {
            Description = "What an earlier verify printed: the whole line in quotes, or its end, ROWS:HASH. Checks also that those rows are still the first ones, so that neither a rewritten ledger nor an old copy passes.",
            HelpName = "ROWS:HASH",
        };
        Option<bool> json = Options.Json();
        var command = new Command("verify",
            """
            Check that no row of a ledger was changed, dropped, inserted or moved: each row's hash covers the row before it.

            It prints one line and ends with exit code 0 when all rows verify, else with 5 and the first row at fault. Anybody who may write the file
            can replace it by a wholly new one. So keep the line that verify prints in another place, and give it back with --since.

            Examples:
              fedlearn ledger verify --ledger bank.ledger.db
              fedlearn ledger verify --ledger bank.ledger.db --since 12:9f86d081884c7d65...
              fedlearn ledger verify --ledger bank.ledger.db --since "$(cat kept.txt)"
            """)
        { file, since, json };
        command.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(file);
            LedgerAudit audit = SqliteLedger.Audit(path, Since(parsed.GetValue(since)));
            if (audit.Head.Length == 0)
                throw new ConfigurationException(SqliteLedgerErrors.NotALedger, path, "the file is empty: it has never held a charge, or has lost them.",
                    "Name the ledger; where this is it and it has held charges, put back the newest copy.");
            ReportWriter.Print(parsed, json, new JsonObject
            {
                ["ok"] = audit.Fault is null,
                ["rows"] = audit.Rows,
                ["head"] = audit.Head,
                ["badRow"] = audit.BadRow,
                ["fault"] = audit.Fault,
            });
            audit.ThrowIfBroken();
            Terminal.ForResult(parsed, parsed.GetValue(json)).Log($"{path}: all rows verify: {audit.Rows}:{audit.Head}");
        });
        return command;
    }

    private static LedgerHead? Since(string? text)
    {
        if (text is null)
            return null;
        // The line may be given back whole, with the name of the file before its end; the file may be elsewhere by now.
        text = text.TrimEnd();
        text = text[(text.LastIndexOf(' ') + 1)..];
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        return colon > 0 && long.TryParse(text[..colon], NumberStyles.None, CultureInfo.InvariantCulture, out long rows) && text.Length - colon - 1 == 64
            ? new LedgerHead(rows, text[(colon + 1)..].ToLowerInvariant())
            : throw new ConfigurationException(CliErrors.Usage, "--since", "it does not end in ROWS:HASH.", "Give the line that an earlier verify printed, in quotes, or its end.");
    }

    private static JsonObject Charge(LedgerEntry entry)
    {
        PrivacyCharge c = entry.Charge;
        return new JsonObject
        {
            ["runId"] = c.RunId,
            ["at"] = entry.At,
            ["party"] = c.Party,
            ["dataSet"] = c.DataSet.Fingerprint,
            ["rows"] = c.DataSet.Rows,
            ["job"] = c.JobName,
            ["jobDigest"] = c.JobDigest,
            ["mechanism"] = c.Mechanism,
            ["claim"] = c.Claim,
            ["parameters"] = JsonNode.Parse(c.Parameters),
            ["unit"] = PartyAccount.NamedUnit(c) ?? Word(c.Unit),
            ["bookedAs"] = Word(c.Unit),
            ["ownMessages"] = DssmClaims.IsOwnMessages(c),
            ["adjacency"] = Words.Of(c.Adjacency),
            ["messages"] = c.Messages,
            ["messageIds"] = new JsonObject { ["first"] = $"{c.RunId}/0", ["last"] = $"{c.RunId}/{c.Messages - 1}" },
            ["pureEpsilon"] = c.PureEpsilon,
            ["mu"] = Math.Sqrt(c.MuSquared),
            ["testNoise"] = c.TestNoise,
            ["state"] = Word(entry.State),
            ["share"] = entry.Share,
        };
    }

    private static JsonObject Alignment(LoggedAlignment alignment) => new()
    {
        ["session"] = alignment.Record.Session,
        ["at"] = alignment.Begun,
        ["ended"] = alignment.Ended,
        ["party"] = alignment.Record.Party,
        ["peer"] = alignment.Record.Peer,
        ["method"] = alignment.Record.Method,
        ["output"] = alignment.Record.Output,
        ["ownIds"] = alignment.Record.OwnIds,
        ["peerIds"] = alignment.Record.PeerIds,
        ["commonIds"] = alignment.CommonIds,
        ["jobDigest"] = alignment.Record.JobDigest,
    };

    /// <summary>For each party and table that were charged, what everything that touches these people has cost.</summary>
    private static IEnumerable<(PrivacyCharge Of, Spending Spending)> Tables(IReadOnlyList<LedgerEntry> entries)
    {
        var numbers = new Dictionary<string, int>();
        var tables = new List<DataSetIdentity>();
        foreach (DataSetIdentity table in entries.Select(e => e.Charge.DataSet))
            if (numbers.TryAdd(table.Fingerprint, tables.Count))
                tables.Add(table);
        int[] ofEntry = [.. entries.Select(e => numbers[e.Charge.DataSet.Fingerprint])];
        var shared = SharedTables.Of(tables);
        // Tables that share rows with the same tables have the same sums, so each sum is made once: a job that runs again and again with a few rows more has many such tables.
        var made = new Dictionary<(string Party, string Shared), Spending>();
        foreach (PrivacyCharge of in entries.Select(e => e.Charge).DistinctBy(c => (c.Party, c.DataSet.Fingerprint)))
        {
            int number = numbers[of.DataSet.Fingerprint];
            (string Party, string Shared) key = (of.Party, shared.KeyOf(number));
            if (!made.TryGetValue(key, out Spending? spending))
                // The charges are taken as charges of this table itself: that theirs share rows with it is known by now.
                made.Add(key, spending = new Spending(of, [.. entries.Where((_, i) => shared.AreShared(number, ofEntry[i]))
                    .Select(e => e with { Charge = e.Charge with { DataSet = of.DataSet } })]));
            yield return (of, spending);
        }
    }

    /// <summary>What has been spent on the people of a table.</summary>
    private sealed class Spending
    {
        /// <param name="of">A charge of the party and the table.</param>
        /// <param name="entries">The charges of all parties for these people, as charges of the table.</param>
        public Spending(PrivacyCharge of, LedgerEntry[] entries)
        {
            LedgerEntry[] Costs(PrivacyUnit unit) => [.. entries.Where(e => e.Costs(of.Party, of.DataSet, unit))];
            LedgerEntry[] all = Costs(PrivacyUnit.Label);
            All = Total(all);
            var sums = new List<Sum>();
            foreach (PrivacyUnit unit in (PrivacyUnit[])[PrivacyUnit.Record, PrivacyUnit.Label])
                // Charges for records count for labels too; a line of its own only where labels were charged by themselves.
                if (Costs(unit) is var costs && costs.Any(e => e.Charge.Unit == unit))
                    sums.Add(new Sum(unit, [.. UnitsOf(costs.Select(e => e.Charge))], costs.Count(e => DssmClaims.IsOwnMessages(e.Charge)), Total(costs)));
            Sums = sums;
            PrivacyCharge[] charges = [.. all.Select(e => e.Charge)];
            var caveats = new List<string>(IPrivacyLedger.Caveats(entries, of.Party, of.DataSet));
            if (charges.Count(DssmClaims.IsOwnMessages) is > 0 and var own)
                caveats.Add($"{own} of the {charges.Length} {Counted.Noun(charges.Length, "charge")} {Counted.Noun(own, "is", "are")} for {DssmClaims.OwnMessages}: they are no epsilon against the peer, and totals that contain them are the least that was spent");
            if (charges.Select(PartyAccount.UnitOf).Distinct().Count() > 1)
                caveats.Add($"the charges are for several units ({string.Join(", ", UnitsOf(charges))}): {PartyAccount.SmallestUnit}");
            Caveats = caveats;
        }

        /// <summary>For each unit that was charged, what it adds up to.</summary>
        public IReadOnlyList<Sum> Sums { get; }

        /// <summary>What a budget counts: everything, so that what is left of it is the same for all units.</summary>
        public PrivacyTotal All { get; }

        /// <summary>What no sum shows.</summary>
        public IReadOnlyList<string> Caveats { get; }

        private static PrivacyTotal Total(IEnumerable<LedgerEntry> entries) => entries.Aggregate(PrivacyTotal.Zero, (sum, e) => sum + new PrivacyTotal(e.PureEpsilon, e.MuSquared));
    }

    /// <summary>A sum of charges.</summary>
    /// <param name="Unit">The unit.</param>
    /// <param name="Units">Words for the units that the charges name.</param>
    /// <param name="OwnMessages">Charges of own messages among them.</param>
    /// <param name="Total">The sum.</param>
    private sealed record Sum(PrivacyUnit Unit, IReadOnlyList<string> Units, int OwnMessages, PrivacyTotal Total);

    private static IEnumerable<string> UnitsOf(IEnumerable<PrivacyCharge> charges) => charges.Select(c => PartyAccount.NamedUnit(c) ?? Word(c.Unit)).Distinct().Order(StringComparer.Ordinal);

    private static JsonObject Total(PrivacyCharge of, Sum sum, PrivacyTotal all, double? delta, double? epsilon) => new JsonObject
    {
        ["party"] = of.Party,
        ["dataSet"] = of.DataSet.Fingerprint,
        ["unit"] = Word(sum.Unit),
        ["units"] = ReportParts.Texts(sum.Units),
        // Where there are any, epsilon and mu are the least that was spent, and no guarantee against the peer.
        ["ownMessages"] = sum.OwnMessages,
        ["pureEpsilon"] = sum.Total.PureEpsilon,
        ["mu"] = sum.Total.Mu,
        ["epsilon"] = delta is { } d ? sum.Total.Epsilon(d) : null,
        ["delta"] = delta,
        ["left"] = epsilon is { } e ? new LedgerBudget(e, delta!.Value).Left(all) : null,
    };

    private static void Print(Terminal terminal, JsonObject document)
    {
        Spectre.Console.Table charges = Terminal.Table("date", "party", "table", "job", "mechanism", "unit", "adjacency", "pure epsilon", "mu", "state", "share");
        foreach (JsonObject c in ReportParts.Objects(document["charges"]))
            charges.AddRow(Cells(Date(c, "at"), Text(c, "party"), Text(c, "dataSet")[..ShortId], Text(c, "job"),
                Text(c, "mechanism") + (c["testNoise"]!.GetValue<bool>() ? " (test noise: NOT PRIVATE)" : ""), Text(c, "unit"), Text(c, "adjacency"),
                Number(c, "pureEpsilon"), Number(c, "mu"), Text(c, "state"), Number(c, "share")));
        terminal.Styled.Write(charges);
        Spectre.Console.Table totals = Terminal.Table("party", "table", "unit", "pure epsilon", "mu", "epsilon", "at delta", "left for one job");
        foreach (JsonObject t in ReportParts.Objects(document["totals"]))
        {
            bool own = t["ownMessages"]!.GetValue<int>() > 0;
            string Least(string name) => t[name] is not null && own ? $"at least {Number(t, name)}" : Number(t, name);
            string units = string.Join(", ", ReportParts.Strings(t["units"]));
            totals.AddRow(Cells(Text(t, "party"), Text(t, "dataSet")[..ShortId], units, Number(t, "pureEpsilon"), Least("mu"), Least("epsilon"), Number(t, "delta"),
                t["left"] is not null && own ? $"at most {Number(t, "left")}" : Number(t, "left")));
        }

        terminal.Styled.Write(totals);
        if (document["alignments"]!.AsArray().Count > 0)
            PrintAlignments(terminal, document["alignments"]!.AsArray());
    }

    // By peer: what matters is how often each of them could test how many ids.
    private static void PrintAlignments(Terminal terminal, JsonArray alignments)
    {
        string Count(JsonObject of, string name) => of[name]?.GetValue<long>().ToString(CultureInfo.InvariantCulture) ?? "-";
        Spectre.Console.Table table = Terminal.Table("party", "peer", "alignment begun", "ended", "own ids", "peer ids", "common", "output");
        foreach (JsonObject a in alignments.Select(a => a!.AsObject()).OrderBy(a => Text(a, "party"), StringComparer.Ordinal).ThenBy(a => Text(a, "peer"), StringComparer.Ordinal))
            table.AddRow(Cells(Text(a, "party"), Text(a, "peer"), Date(a, "at"),
                a["ended"] is null ? "no" : Date(a, "ended"), Count(a, "ownIds"), Count(a, "peerIds"), Count(a, "commonIds"), Text(a, "output")));
        terminal.Styled.Write(table);
    }

    private static string[] Cells(params string[] cells) => [.. cells.Select(Markup.Escape)];

    private static string Text(JsonObject of, string name) => of[name]!.GetValue<string>();

    private static string Date(JsonObject of, string name) => of[name]!.GetValue<DateTimeOffset>().ToString("u", CultureInfo.InvariantCulture);

    private static string Number(JsonObject of, string name) =>
        of[name]?.GetValue<double>() is { } value ? value.ToString(value is > 0 and < 1e-3 ? "0.###e0" : "0.####", CultureInfo.InvariantCulture) : "-";

    private static string Word<T>(T value) where T : struct, Enum => value.ToString().ToLowerInvariant();
}
