using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Glm;
using FedLearn.Onnx;
using Spectre.Console;

namespace FedLearn.Cli.Commands;

/// <summary><c>fedlearn model</c>: what a party's part of a model holds, and the same in another format.</summary>
internal static class ModelCommand
{
    /// <summary>Builds the command.</summary>
    public static Verb Create() => new("model", "Read one party's part of a trained model, or write it as ONNX. Both are private to the party.", static command => command.Has(Show(), Export()));

    private static Option<string> Directory() => new("--model") { Description = "Directory that train --model or party --model wrote.", Required = true, HelpName = "DIR" };

    private static Option<string> Party() => new("--party") { Description = "Party whose part it is: the file is DIR/NAME.model.json.", Required = true, HelpName = "NAME" };

    private static Command Show()
    {
        Option<string> directory = Directory(), party = Party();
        Option<bool> json = Options.Json();
        var command = new Command("show",
            """
            Show family, job, and every feature with its weight. A feature is (column - center) / width, clipped to [-1, 1] with scaling declared alone,
            where center and width are those of the schema's range. Then the length of the row is bounded as the job says. So when the column changes
            by width, the linear predictor changes by the weight. With several classes every feature has one weight for each class.

            The file is checked against its signature, a SHA-256 of all that it holds, before anything is shown.

            Weights tell of the rows they were trained on. They are private to the party: no other party has them, and no epsilon of the job covers
            showing them to somebody else.

            Examples:
              fedlearn model show --model models --party bank
              fedlearn model show --model models --party bank --json
            """)
        { directory, party, json };
        command.SetAction(parsed =>
        {
            GlmModel model = Load("model show", parsed.GetRequiredValue(directory), parsed.GetRequiredValue(party));
            Print(Terminal.ForResult(parsed, parsed.GetValue(json)), model);
            ReportWriter.Print(parsed, json, Document(model));
        });
        return command;
    }

    private static Command Export()
    {
        Option<string> directory = Directory(), party = Party();
        var file = new Option<string>("--onnx") { Description = "File to write.", Required = true, HelpName = "FILE" };
        Option<bool> json = Options.Json();
        var command = new Command("export",
            """
            Write the whole linear predictor of one party as ONNX (operator set 13, float64), for ONNX Runtime and other programs that read it.

            Input x, [rows, columns]: the party's columns as they are in its table, categories as 0 and 1, in the order of the metadata 'columns'. Output
            scores, [rows, outputs]: scaling, clipping, the bound of the row, weights and intercepts are inside. The model's score is the sum of the
            parties' scores, plus the row's offset where the job has one. The family's inverse link turns it into a mean. Offset and inverse link are
            not in the file.

            The file holds the party's weights: it is as private to the party as DIR/NAME.model.json.

            Example:
              fedlearn model export --model models --party bank --onnx bank.onnx
            """)
        { directory, party, file, json };
        command.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(file);
            OutputFile.CheckApart([Path.Combine(parsed.GetRequiredValue(directory), GlmModel.FileName(parsed.GetRequiredValue(party)))], null, path);
            GlmModel model = Load("model export", parsed.GetRequiredValue(directory), parsed.GetRequiredValue(party));
            OutputFile.Write(path, unfinished => OnnxExport.Save(model, unfinished));
            IReadOnlyList<ScaledColumn> columns = model.Features.Description.Columns;
            Terminal terminal = Terminal.Of(parsed);
            terminal.Log($"written: {path}: {OnnxExport.Input} [rows, {columns.Count}] to {OnnxExport.Output} [rows, {model.Outputs}]");
            if (model.UsesOffsets)
                terminal.Log("note: the model was trained with offsets; add each row's offset to its score");
            if (model.PeerLink is { } link)
                terminal.Log(string.Create(CultureInfo.InvariantCulture, $"note: the passive parties' scores enter as log(max({link.Center:R} + {link.Slope:R} x their sum, {link.Least:R}))"));
            ReportWriter.Print(parsed, json, new JsonObject
            {
                ["onnx"] = Path.GetFullPath(path),
                ["columns"] = ReportParts.Texts(columns.Select(c => c.Name)),
                ["outputs"] = model.Outputs,
            });
        });
        return command;
    }

    private static GlmModel Load(string verb, string directory, string party)
    {
        string path = Path.Combine(directory, GlmModel.FileName(party));
        // Only what the file says of itself: whether it is whole is for the verbs that use it.
        if (IsRecommendation(path))
            throw new ConfigurationException(RunFileErrors.OtherModel, path, $"{verb} works on generalised linear models, and this is a part of a recommendation model.",
                "Use recommend topk --vectors with its job, which writes the items' vectors; recommend evaluate measures the model.");
        return GlmModel.Load(directory, party);
    }

    private static bool IsRecommendation(string path)
    {
        try
        {
            return JsonFile.At(JsonFile.Read(path), "format") is { ValueKind: JsonValueKind.String } format && format.GetString()!.StartsWith(DssmModel.FormatFamily, StringComparison.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or ArgumentException)
        {
            // Whoever reads it as a linear model says what is wrong.
            return false;
        }
    }

    private static JsonObject Document(GlmModel model) => new()
    {
        ["job"] = model.JobName,
        ["jobDigest"] = model.JobDigest,
        ["trainingId"] = model.TrainingId,
        ["party"] = model.Party.Name,
        ["role"] = Words.Of(model.Party.Role),
        ["softwareVersion"] = model.SoftwareVersion,
        ["family"] = new JsonObject
        {
            ["name"] = model.Family,
            ["link"] = model.Link,
            ["parameters"] = new JsonObject(model.FamilyParameters.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)p.Value))),
        },
        ["schemaFingerprint"] = model.SchemaFingerprint,
        ["rows"] = RowsOf(model),
        ["outputs"] = model.Outputs,
        ["usesOffsets"] = model.UsesOffsets,
        ["features"] = new JsonArray([.. model.Features.FeatureNames.Select((name, j) => (JsonNode)new JsonObject
        {
            ["name"] = name,
            ["center"] = Column(model, j)?.Center,
            ["width"] = Column(model, j)?.Width,
            ["clipped"] = Column(model, j)?.Clip,
            ["weights"] = new JsonArray([.. WeightsOf(model, j).Select(w => (JsonNode)w)]),
        })]),
        ["intercepts"] = new JsonArray([.. model.Intercepts.Select(i => (JsonNode)i)]),
        ["inference"] = model.Inference is { } inference ? new JsonObject
        {
            ["dispersion"] = inference.Dispersion,
            ["degreesOfFreedom"] = inference.DegreesOfFreedom,
            ["penalised"] = inference.Penalised,
            ["coefficients"] = new JsonArray([.. model.Features.FeatureNames.Concat(model.Intercepts.Select(_ => "(intercept)")).Zip(inference.Coefficients, (name, c) => (JsonNode)new JsonObject
            {
                ["name"] = name,
                ["estimate"] = c.Estimate,
                ["standardError"] = c.StandardError,
                ["z"] = c.Z,
                ["p"] = c.PValue,
            })]),
        } : null,
    };

    /// <summary>Standard error, z and p-value of a weight; nothing where the job did not ask for them.</summary>
    private static string[] InferenceOf(GlmModel model, int weight) =>
        model.Inference?.Coefficients[weight] is { } c ? [Number(c.StandardError), Number(c.Z), Number(c.PValue)] : [];

    private static void Print(Terminal terminal, GlmModel model)
    {
        string parameters = string.Concat(model.FamilyParameters.Select(p => $", {p.Key} {Number(p.Value)}"));
        terminal.Log($"{model.Party.Name} ({Words.Of(model.Party.Role)}) of job '{model.JobName}', digest {model.JobDigest}, training {model.TrainingId ?? "unknown"}");
        terminal.Log($"family {model.Family}{(model.Link is { } link ? $", link {link}" : "")}{parameters}; rows {RowsOf(model)}; FedLearn {model.SoftwareVersion}");
        if (model.UsesOffsets)
            terminal.Log("trained with offsets: rows to score need them");
        Spectre.Console.Table table = Terminal.Table("feature", "center", "width", "clipped");
        for (int m = 0; m < model.Outputs; m++)
            table.AddColumn(model.Outputs == 1 ? "weight" : $"weight, class {m}");
        if (model.Inference is not null)
            table.AddColumns("std. error", "z", "p");
        for (int j = 0; j < model.Features.FeatureNames.Count; j++)
        {
            ScaledColumn? column = Column(model, j);
            table.AddRow([Markup.Escape(model.Features.FeatureNames[j]), column is null ? "" : Number(column.Center), column is null ? "" : Number(column.Width),
                column?.Clip == true ? "yes" : "", .. WeightsOf(model, j).Select(Number), .. InferenceOf(model, j)]);
        }

        if (model.Intercepts.Count > 0)
            table.AddRow(["(intercept)", "", "", "", .. model.Intercepts.Select(Number), .. InferenceOf(model, model.Features.FeatureNames.Count)]);
        terminal.Styled.Write(table);
    }

    // The constant that the feature map appends has no scaled column.
    private static ScaledColumn? Column(GlmModel model, int feature) =>
        model.Features.Description.Columns is var columns && feature < columns.Count ? columns[feature] : null;

    private static IEnumerable<double> WeightsOf(GlmModel model, int feature) =>
        Enumerable.Range(0, model.Outputs).Select(m => model.Weights[(m * model.Features.FeatureNames.Count) + feature]);

    private static string RowsOf(GlmModel model) => model.Features.Description switch
    {
        { Rows: RowBound.None } => "not bounded",
        { Rows: RowBound.Clip } map => $"clipped to length {Number(map.RowNorm)}",
        var map => $"normalised to length {Number(map.RowNorm)}",
    };

    private static string Number(double value) => value.ToString("G7", CultureInfo.InvariantCulture);
}
