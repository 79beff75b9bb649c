using FedLearn.Cli.Commands;
using FedLearn.Cli.RunFiles;
using FedLearn.Data;
using FedLearn.Dssm;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>A target that reads a file of JSON.</summary>
internal abstract class JsonFileTarget(string name, int fastCases) : FuzzTarget(name, fastCases)
{
    private JsonMutator? _mutator;

    protected JsonMutator Mutator => _mutator ??= new JsonMutator(Seeds);

    public override byte[] Make(FuzzRandom random) => Mutator.Mutate(random);

    protected static string Write(byte[] input, string folder, string name)
    {
        string path = Path.Combine(folder, name);
        File.WriteAllBytes(path, input);
        return path;
    }
}

/// <summary>A job file: read, and its digest taken.</summary>
internal sealed class JobFileTarget() : JsonFileTarget("job-file", 8_000)
{
    protected override void Read(byte[] input, string folder)
    {
        RunFile run = RunFile.Load(Write(input, folder, "job.json"));
        Require(run.Digest("train").Length == 64 && run.Name.Length > 0 && run.Parties.Count > 0, "A job that was read is none.");
        _ = run.Notice;
    }
}

/// <summary>A party file beside a legal job file.</summary>
internal sealed class PartyFileTarget() : JsonFileTarget("party-file", 4_000)
{
    private static readonly byte[] Job = """
        { "name": "fuzz", "model": { "type": "glm", "family": "binomial" }, "privacy": { "mode": "none" },
          "parties": [ { "name": "insurer", "role": "active", "data": { "path": "a.csv", "label": "y" } }, { "name": "clinic", "role": "passive", "data": { "path": "b.csv" } } ] }
        """u8.ToArray();

    protected override void Read(byte[] input, string folder)
    {
        if (!File.Exists(Path.Combine(folder, "job.json")))
            Write(Job, folder, "job.json");
        Require(PartyFile.Load(Write(input, folder, "party.json")).Self.Name.Length > 0, "A party that was read has no name.");
    }
}

/// <summary>A schema of a table.</summary>
internal sealed class TableSchemaTarget() : JsonFileTarget("table-schema", 4_000)
{
    protected override void Read(byte[] input, string folder)
    {
        var schema = TableSchema.Load(Write(input, folder, "schema.json"));
        Require(schema.Fingerprint().Length == 32 && (schema.FeatureNames.Count > 0 || schema.LabelColumn is not null), "A schema that was read has neither features nor a label.");
    }
}

/// <summary>A schema of a view or of items: read, written and read again.</summary>
internal sealed class DssmSchemaTarget() : JsonFileTarget("dssm-schema", 4_000)
{
    protected override void Read(byte[] input, string folder)
    {
        var schema = DssmSchema.Load(Write(input, folder, "schema.json"));
        Require(DssmSchema.Parse(schema.ToJson(), "again").ToJson() == schema.ToJson(), "A schema is not what is written again.");
    }
}

/// <summary>A report of a training, as <c>fedlearn report</c> reads it.</summary>
internal sealed class TrainingReportTarget() : JsonFileTarget("training-report", 2_000)
{
    // A page shows every round; its text is some times as long as the numbers.
    public override long AllocationLimit(int length) => (32L << 20) + 1000L * length;

    protected override void Read(byte[] input, string folder) => ReportCommand.Read(Write(input, folder, "report.json"));
}
