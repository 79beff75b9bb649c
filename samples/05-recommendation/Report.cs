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
        string seeds = $"Figures are means over {settings.Seeds} training seed(s), at most one of which the noise repeats: noise is fresh in every run.";
        Say("data", $"{data}: {ratings.Users.Count} users, {ratings.Items.Count} items, {ratings.Ratings.Count} ratings. {split}");
        Say("seeds", seeds);
    }

    public void Add(string title, string key, IReadOnlyList<Row> rows)
    {
        int events = rows[0].Figures.Events;
        double error = StandardError(events);
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

    private static JsonArray Combined(Row row)
    {
        // Under one-shot the service answers nothing; in the other jobs it has figures of its own, or the companies have none.
        var holders = row.Statements!.Where(s => s.Party is "taste" or "behaviour" || (s.Party == StreamingService.Name && row.Privacy!.Claim != DssmClaim.OneShot)).ToList();
        string names = string.Join(", ", holders.Select(h => h.Party));
        var combined = new JsonArray();
        if (holders.Find(h => h.Statement.Figures.Count == 0) is { Party: not null } open)
        {
            Console.WriteLine($"  combined, observing {names} of the same event: no figure, {open.Party} sends without noise what it makes of the event");
            return combined;
        }

        foreach (EmbeddingUnit unit in Enum.GetValues<EmbeddingUnit>())
        {
            EmbeddingFigure[] figures = [.. holders.SelectMany(h => h.Statement.Figures.Where(f => f.Unit == unit && f.Mu is not null))];
            if (figures.Length < holders.Count)
                continue;
            EmbeddingFigure sum = EmbeddingFigure.Combined(figures, figures[0].Delta);
            string epsilon = row.Privacy!.Claim == DssmClaim.OwnMessages ? "own-messages epsilon" : "epsilon";
            Console.WriteLine($"  combined, observing {names} of the same {(unit == EmbeddingUnit.User ? "person" : "event")}: unit {Lower(unit)} (a = {sum.Rows}), claim {Name(row.Privacy.Claim)}: "
                + $"mu = sqrt({string.Join(" + ", figures.Select(f => $"{f.Mu:0.0000}^2"))}) = {sum.Mu:0.0000}, {epsilon} {sum.Epsilon:0.0000} at delta {sum.Delta:R}");
            combined.Add(new JsonObject
            {
                ["unit"] = Lower(unit),
                ["claim"] = Name(row.Privacy.Claim),
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
        : $"   unit {Name(privacy.Unit)}, claim {Name(privacy.Claim)}, {(privacy.Claim == DssmClaim.OwnMessages ? "own-messages epsilon" : "epsilon")} {privacy.Budget!.Epsilon:R} a noising party";

    private static string Name(DssmClaim claim) => claim switch { DssmClaim.OwnMessages => "own-messages", DssmClaim.Full => "full", _ => "one-shot" };

    private static string Name(DssmUnit unit) => Lower((EmbeddingUnit)unit);

    private static string Lower(EmbeddingUnit unit) => unit switch { EmbeddingUnit.Sample => "sample", EmbeddingUnit.Event => "event", _ => "user" };

    private static JsonArray Texts(IEnumerable<string> texts) => new([.. texts.Select(text => JsonValue.Create(text))]);

    private static double StandardError(int events) => Math.Sqrt(0.25 / events);
}
