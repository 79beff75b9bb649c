using System.Security.Cryptography;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Dssm;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>A target that reads a model file. Seven in eight changed files are signed anew: whoever can write a file can sign it, so the checksum protects nothing here.</summary>
internal abstract class SignedFileTarget(string name, int fastCases) : JsonFileTarget(name, fastCases)
{
    public override byte[] Make(FuzzRandom random)
    {
        if (random.OneIn(8))
            return Mutator.Mutate(random);
        JsonTree tree = Mutator.MutateTree(random);
        Patch(tree, "weightsSha256", WeightsOf);
        Patch(tree, "signature", SignatureOf);
        return tree.ToBytes();
    }

    /// <summary>SHA-256 over the trained numbers of a document; null where it has none.</summary>
    protected abstract string? WeightsOf(JsonTree tree);

    private static string? SignatureOf(JsonTree tree)
    {
        try
        {
            return SignedJson.Hash(tree.ToBytes());
        }
        catch (System.Text.Json.JsonException)
        {
            return null;
        }
    }

    protected static JsonTree? Member(JsonTree? tree, string key)
    {
        int at = tree?.Keys?.FindLastIndex(k => k.AsSpan().SequenceEqual(Encoding.UTF8.GetBytes($"\"{key}\""))) ?? -1;
        return at < 0 ? null : tree!.Items![at];
    }

    private static void Patch(JsonTree tree, string key, Func<JsonTree, string?> value)
    {
        if (Member(tree, key) is { Token: not null } member && value(tree) is { } text)
            member.Token = Encoding.ASCII.GetBytes($"\"{text}\"");
    }
}

/// <summary>A party's part of a generalised linear model: read, used on a row, written and read again.</summary>
internal sealed class GlmModelTarget() : SignedFileTarget("glm-model", 4_000)
{
    private static readonly Table Row = Table.FromMatrix(["a"], ["x1", "x2"], new DenseMatrix(1, 2, [1, 2]));

    protected override string? WeightsOf(JsonTree tree)
    {
        byte[]?[] numbers = [.. new[] { "weights", "intercepts" }.SelectMany(key => Member(tree, key)?.Items ?? []).Select(item => item.Token)];
        var values = new double[numbers.Length];
        for (int i = 0; i < values.Length; i++)
            if (numbers[i] is not { } token || !double.TryParse(token, null, out values[i]))
                return null;
        return Convert.ToHexStringLower(SHA256.HashData(System.Runtime.InteropServices.MemoryMarshal.AsBytes<double>(values)));
    }

    protected override void Read(byte[] input, string folder)
    {
        File.WriteAllBytes(Path.Combine(folder, GlmModel.FileName("bank")), input);
        var model = GlmModel.Load(folder, "bank");
        byte[] again = GlmModelFile.Write(model);
        Require(GlmModelFile.Read(again, "again").WeightsSha256 == model.WeightsSha256, "A model is not what is written again.");
        Require(model.Score(Row, [0]).Length == model.Outputs, "A score is missing.");
    }
}

/// <summary>A party's part of a recommendation model, with the states of its towers.</summary>
internal sealed class DssmModelTarget() : SignedFileTarget("dssm-model", 4_000)
{
    protected override IEnumerable<byte[]> MadeSeeds()
    {
        string folder = Directory.CreateTempSubdirectory("fedlearn-fuzz-").FullName, path = Path.Combine(folder, "model.json");
        var spec = new TowerSpec { Inputs = new TowerInputs(2, [new BagField("genres", 5, BagPooling.Mean)]), Layers = [3, 2] };
        var active = new DssmModel
        {
            JobName = "small",
            JobDigest = new string('0', 64),
            Version = "v1",
            Party = new PartyDescription("bank", PartyRole.Active),
            Views = ["bank", "profile"],
            Options = new DssmModelOptions { Layers = [3, 2], ViewWeights = new Dictionary<string, double> { ["bank"] = 2 } },
            View = new SavedTower(spec, TowerStateTarget.State(spec)),
            Items = new SavedTower(spec with { Inputs = new TowerInputs(1, []) }, TowerStateTarget.State(spec with { Inputs = new TowerInputs(1, []) })),
            Fusion = [1, 0.5],
            Received = new Dictionary<string, SavedTower> { ["profile"] = new(spec, TowerStateTarget.State(spec)) },
        };
        foreach (DssmModel model in new[] { active, active with { Items = null, Fusion = [], Received = new Dictionary<string, SavedTower>(), Party = new PartyDescription("profile", PartyRole.Passive) } })
        {
            model.Save(path);
            yield return File.ReadAllBytes(path);
        }

        Directory.Delete(folder, recursive: true);
    }

    protected override string? WeightsOf(JsonTree tree)
    {
        try
        {
            using var bytes = new MemoryStream();
            IEnumerable<(string, JsonTree?)> received = Member(tree, "received") is { Keys: { } keys, Items: { } items } ? keys.Zip(items).Select(pair => (Encoding.UTF8.GetString(pair.First), (JsonTree?)pair.Second)) : [];
            foreach (JsonTree? tower in new[] { Member(tree, "view"), Member(tree, "items") }.Concat(received.OrderBy(pair => pair.Item1, StringComparer.Ordinal).Select(pair => pair.Item2)))
                if (Member(tower, "State")?.Token is [(byte)'"', .. var state, (byte)'"'])
                    bytes.Write(Convert.FromBase64String(Encoding.UTF8.GetString(state)));
            foreach (JsonTree number in Member(tree, "fusion")?.Items ?? [])
                bytes.Write(BitConverter.GetBytes(double.Parse(number.Token ?? [], null)));
            return Convert.ToHexStringLower(SHA256.HashData(bytes.ToArray()));
        }
        catch (FormatException)
        {
            return null;
        }
    }

    protected override void Read(byte[] input, string folder)
    {
        var model = DssmModel.Load(Write(input, folder, "model.json"));
        Require(model.Party.Name.Length > 0 && model.Views.All(view => view is not null) && model.Options.Layers.Count > 0 && model.JobName.Length > 0, "A model that was read has no parts.");
        foreach (SavedTower tower in new[] { model.View, model.Items }.OfType<SavedTower>().Concat(model.Received.Values))
        {
            SpecCheck.Require(tower.Spec, threads: 1);
            TowerState.Read(tower.Spec, tower.State);
        }

        model.Save(Path.Combine(folder, "again.json"));
        Require(DssmModel.Load(Path.Combine(folder, "again.json")).WeightsSha256 == model.WeightsSha256, "A model is not what is written again.");
    }
}

/// <summary>The saved parameters of a tower; three in four are given a right checksum.</summary>
internal sealed class TowerStateTarget() : FuzzTarget("tower-state", 2_000)
{
    private static readonly TowerSpec Spec = new() { Inputs = new TowerInputs(2, []), Layers = [3, 2], Precision = TowerPrecision.Float64 };

    public override byte[] Make(FuzzRandom random)
    {
        byte[] changed = ByteMutator.Mutate(random, random.Of(Seeds), Seeds);
        if (changed.Length > 32 && !random.OneIn(4))
            SHA256.HashData(changed.AsSpan(0, changed.Length - 32), changed.AsSpan(changed.Length - 32));
        return changed;
    }

    protected override IEnumerable<byte[]> MadeSeeds() => [State(Spec)];

    protected override void Read(byte[] input, string folder) => Require(TowerState.Read(Spec, input).Parameters.All(double.IsFinite), "A parameter is not finite.");

    internal static byte[] State(TowerSpec spec) => TowerState.Write(spec, 7, TowerStart.Values(spec, 7));
}
