using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Dssm;
using FedLearn.Privacy;

namespace FedLearn.Samples.Recommendation;

/// <summary>Prints what was measured and what may be said of it, and keeps it for a file.</summary>
internal sealed class Report(RatingSet ratings, Settings settings)
{
    private static readonly JsonSerializerOptions Readable = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly JsonObject _document = [];

    public void Begin()
    {
        string data = settings.Source is null
            ? $"SYNTHETIC: nobody gave these ratings, a generator drew them from latent tastes; figures say nothing about people ({ratings.Name})"
            : $"MovieLens 100K, ratings of real people from 1997 and 1998 ({ratings.Name})";
        string split = "The split into companies is ours: no three companies held these tables.";
        Say("data", $"{data}: {ratings.Users.Count} users, {ratings.Items.Count} items, {ratings.Ratings.Count} ratings. {split}");
        Say("seeds", $"Figures are means over {settings.Seeds} training seed(s). Noise has no seed: rows with noise differ from run to run.");
    }

    public void Add(string title, string key, IReadOnlyList<Row> rows)
    {
        int events = rows[0].Figures.Events;
        double error = Math.Sqrt(0.25 / events);
        bool cold = key == "coldItems";
        Console.WriteLine($"\n{title}: {events} events; a standard error of HR@10 (99) is {error:0.000} at most");
        Console.WriteLine($"  {"",-36}{"HR@10 (99)",12}{"HR@10 (all)",13}{(cold ? "AUC (cold)" : "AUC"),12}");
        foreach (Row row in rows)
            Console.WriteLine($"  {row.Name,-36}{row.Figures.Hr10Sampled,12:0.0000}{row.Figures.Hr10Full,13:0.0000}{row.Figures.Auc,12:0.0000}{Named(row.Privacy)}");
        if (cold)
            Console.WriteLine("  AUC (cold): among items that training never saw; chance is 0.5000.");
        _document[key] = new JsonObject
        {
            ["events"] = events,
            ["standardError"] = error,
            ["rows"] = new JsonArray([.. rows.Select(row => new JsonObject
            {
                ["name"] = row.Name,
                ["hr10Sampled"] = row.Figures.Hr10Sampled,
                ["hr10Full"] = row.Figures.Hr10Full,
                [cold ? "aucAmongCold" : "aucFull"] = row.Figures.Auc,
                ["unit"] = row.Privacy is null ? null : Name(row.Privacy.Unit),
                ["claim"] = row.Privacy is null ? null : Name(row.Privacy.Claim),
                ["epsilon"] = row.Privacy?.Budget!.Epsilon,
                ["delta"] = row.Privacy?.Budget!.Delta,
            })]),
        };
    }

    /// <summary>Per private job: every party's claim and disclosures, and what parties that hold the same events cost together.</summary>
    public void AddPrivacy(IReadOnlyList<Row> rows)
    {
        Console.WriteLine();
        Say("sameEvents", "The features of taste and behaviour are made from the same events as the labels of the streaming service. What one of the three tells of an event is told "
            + "beside what the others tell: for somebody who observes several, squares of mu add up.");
        var statements = new JsonArray();
        foreach (Row row in rows.Where(row => row.Privacy is not null))
        {
            Console.WriteLine($"\n{row.Name}{Named(row.Privacy)}");
            var parties = new JsonArray();
            foreach ((string party, DssmPrivacyStatement statement) in row.Statements!)
            {
                foreach (string claim in statement.Claims)
                    Console.WriteLine($"  {party}: {claim}");
                Console.WriteLine($"  {party} discloses: {(statement.Disclosures.Count == 0 ? "nothing else" : string.Join("; ", statement.Disclosures))}");
                parties.Add(new JsonObject { ["name"] = party, ["claims"] = Texts(statement.Claims), ["disclosures"] = Texts(statement.Disclosures) });
            }

            statements.Add(new JsonObject { ["name"] = row.Name, ["unit"] = Name(row.Privacy!.Unit), ["claim"] = Name(row.Privacy.Claim), ["parties"] = parties, ["combined"] = Combined(row) });
        }

        _document["statements"] = statements;
    }

    public void End()
    {
        if (settings.Report is { } path)
            File.WriteAllText(path, _document.ToJsonString(Readable) + "\n");
    }

    /// <summary>Squares of mu, added over the parties that send something of the same event or person.</summary>
    private static JsonArray Combined(Row row)
    {
        DssmPrivacyOptions privacy = row.Privacy!;
        // Under one-shot the service sends nothing that depends on an item.
        (string Party, DssmPrivacyStatement Statement)[] senders = [.. row.Statements!.Where(s => s.Party != StreamingService.Name || privacy.Claim != EmbeddingClaim.OneShot)];
        var combined = new JsonArray();
        foreach (EmbeddingUnit unit in Enum.GetValues<EmbeddingUnit>())
        {
            // All parties hold the same people. A profile is made from no event.
            (string Party, DssmPrivacyStatement Statement)[] holders = [.. senders.Where(s => unit == EmbeddingUnit.User || s.Party != "profile")];
            string place = $"combined, observing {string.Join(", ", holders.Select(h => h.Party))} of the same {(unit == EmbeddingUnit.User ? "person" : "event")}: unit {Name(unit)}";
            string[] open = [.. holders.Where(h => h.Statement.Figures.Count == 0).Select(h => h.Party)];
            if (open.Length > 0)
            {
                Console.WriteLine($"  {place}, claim {Name(privacy.Claim)}: no figure, {string.Join(" and ", open)} send{(open.Length == 1 ? "s" : "")} vectors without noise");
                continue;
            }

            EmbeddingFigure[] figures = [.. holders.Select(h => h.Statement.Figures.FirstOrDefault(f => f.Unit == unit)).OfType<EmbeddingFigure>()];
            if (figures.Length < holders.Length || figures.Any(f => f.Mu is null))
                continue;
            EmbeddingFigure sum = EmbeddingFigure.Combined(figures, figures[0].Delta);
            Console.WriteLine($"  {place} (a = {sum.Rows}), claim {Name(privacy.Claim)}: mu = sqrt({string.Join(" + ", figures.Select(f => $"{f.Mu:0.0000}^2"))}) = {sum.Mu:0.0000}, "
                + $"{Epsilon(privacy.Claim)} {sum.Epsilon:0.0000} at delta {sum.Delta:R}");
            combined.Add(new JsonObject
            {
                ["unit"] = Name(unit),
                ["claim"] = Name(privacy.Claim),
                ["parties"] = new JsonArray([.. holders.Zip(figures, (h, f) => new JsonObject { ["name"] = h.Party, ["mu"] = f.Mu })]),
                ["mu"] = sum.Mu,
                ["epsilon"] = sum.Epsilon,
                ["delta"] = sum.Delta,
            });
        }

        return combined;
    }

    private void Say(string key, string text)
    {
        Console.WriteLine(text);
        _document[key] = text;
    }

    /// <summary>No epsilon without its unit and its claim.</summary>
    private static string Named(DssmPrivacyOptions? privacy) => privacy is null ? ""
        : $"   unit {Name(privacy.Unit)}, claim {Name(privacy.Claim)}, {Epsilon(privacy.Claim)} {privacy.Budget!.Epsilon:R} a noising party";

    private static string Name(EmbeddingClaim claim) => claim switch { EmbeddingClaim.OwnMessages => "own-messages", EmbeddingClaim.Full => "full", _ => "one-shot" };

    /// <summary>A figure of own messages is no epsilon of all that a party tells.</summary>
    private static string Epsilon(EmbeddingClaim claim) => claim == EmbeddingClaim.OwnMessages ? "own-messages epsilon" : "epsilon";

    private static string Name(EmbeddingUnit unit) => unit switch { EmbeddingUnit.Sample => "sample", EmbeddingUnit.Event => "event", _ => "user" };

    private static JsonArray Texts(IEnumerable<string> texts) => new([.. texts.Select(text => JsonValue.Create(text))]);
}
