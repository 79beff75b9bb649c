using System.Security.Cryptography;
using System.Text.Json;
using FedLearn.Aggregation;

namespace FedLearn.Dssm;

/// <summary>A checked device job and what follows from it. Every device and the server make their own from their own copy of the job.</summary>
internal sealed class DevicePlan
{
    /// <summary>Fixed point under masks without noise: 2^-20.</summary>
    public const double FixedPoint = 1.0 / (1 << 20);

    public DevicePlan(DeviceJob job)
    {
        ArgumentNullException.ThrowIfNull(job);
        Check(job);
        Job = job;
        var local = new TowerOptimizer { Kind = TowerOptimizerKind.Sgd, Rate = job.Training.LocalRate };
        Item = job.Model.Tower(job.Items.Content.Inputs, local);
        Views = [.. job.Views.Select(view => job.Model.Tower(view.Inputs, local))];
        DevicePrivacyOptions privacy = job.Privacy;
        Threshold = privacy.Threshold ?? 1;
        MaxParticipations = privacy.MaxParticipations ?? int.MaxValue;
        Digest = DigestOf(job);
    }

    public DeviceJob Job { get; }

    public TowerSpec Item { get; }

    public IReadOnlyList<TowerSpec> Views { get; }

    public bool IsPrivate => Job.Privacy.IsPrivate;

    public bool ItemOnly => Job.Training.Aggregate == DeviceAggregation.ItemOnly;

    /// <summary>Threshold t of the job; an attempt with more clients may need a higher one.</summary>
    public int Threshold { get; }

    /// <summary>Cap R.</summary>
    public int MaxParticipations { get; }

    /// <summary>SHA-256 of what all must agree on.</summary>
    public byte[] Digest { get; }

    /// <summary>Threshold of an attempt of n clients: at least t, and 2t > n + c, so that no two disjoint halves can both be opened.</summary>
    public int ThresholdOf(int clients) => Math.Max(Threshold, (clients + Job.Privacy.Colluders) / 2 + 1);

    /// <summary>Why so few devices make no attempt; null where they are enough.</summary>
    public string? TooFew(int devices) => devices >= Threshold ? null : $"{devices} {Diagnostics.Counted.Noun(devices, "device takes", "devices take")} part, and the threshold is {Threshold}";

    /// <summary>Seed of a tower's starting values: 0 the items', from 1 the views'.</summary>
    public long SeedOf(int tower) => unchecked(Job.Training.Seed + tower * 0x632BE59BD9B4E019);

    /// <summary>Refuses data of other views or items than the job's.</summary>
    public void CheckData(DeviceData data)
    {
        if (data.Views.Count != Views.Count || data.Views.Where((view, v) => view is not null && !view.Rows.Inputs.Equals(Job.Views[v].Inputs)).Any())
            throw new Diagnostics.ConfigurationException(DeviceErrors.DataDoesNotFit, "device data", "its views are not those of the job.",
                "Give one entry a view, null for one that the device does not have.");
        if (Array.Exists(data.Positives, item => (uint)item >= (uint)Job.Items.Content.Rows))
            throw new Diagnostics.ConfigurationException(DeviceErrors.DataDoesNotFit, "device data", "a sample has an item that the job does not.", "Update the item table of the device.");
    }

    private static void Check(DeviceJob job)
    {
        DssmModelOptions model = job.Model;
        DeviceTrainingOptions training = job.Training;
        DevicePrivacyOptions privacy = job.Privacy;
        if (string.IsNullOrWhiteSpace(job.Name) || job.Views.Count == 0 || job.Views.Select(v => v.Name).Distinct(StringComparer.Ordinal).Count() != job.Views.Count)
            throw DeviceErrors.Job("views", "there is no name, no view, or two views of one name.", "Name the job, and give each view a name of its own.");
        if (job.Devices < 1 || job.Items.Content.Rows < 2 || job.Items.Ids.Count != job.Items.Content.Rows)
            throw DeviceErrors.Job("items", "there are no devices, fewer than two items, or not one id an item.", "Give all items and the number of enrolled devices.");
        if (model.Dropout != 0)
            throw DeviceErrors.Job("model.dropout", "which hidden outputs a tower drops depends on how often it was evaluated, which differs from device to device and in a simulation.", "Leave it out; view dropout is possible.");
        if (model.Layers.Count == 0 || model.Layers.Any(width => width < 1) || !Positive(model.Gamma) || model.Negatives < 1 || model.ViewDropout is not (>= 0 and < 1))
            throw DeviceErrors.Job("model", "a layer, gamma, the number of negatives or the view dropout is out of range.", "See the ranges of DssmModelOptions.");
        if (model.ViewWeights.Any(w => !DssmLoss.IsViewWeight(w.Value) || job.Views.All(view => view.Name != w.Key)))
            throw DeviceErrors.Job("model.viewWeights", "a weight is not between 1e-100 and 1e100 or names no view.", "Give weights of this range to views of the job.");
        if (training.Rounds < 1 || training.Participation is not (> 0 and <= 1) || training.LocalSteps < 1 || !Positive(training.LocalRate) || training.AttemptsPerRound < 1
            || !Positive(training.ServerOptimizer.Rate) || training.ServerOptimizer.WeightDecay is not (>= 0 and <= double.MaxValue))
            throw DeviceErrors.Job("training", "rounds, participation, steps, attempts or a rate is out of range.", "See the ranges of DeviceTrainingOptions.");
        if (model.Fusion == DssmFusion.Concat)
            throw DeviceErrors.Model("model.fusion", "concat has a matrix at an active party, and devices have none.", "Use late or sum.");
        if (model.LearnViewWeights || model.ItemBias)
            throw DeviceErrors.Model("model", "learned view weights and item biases belong to an active party, and devices have none.", "Switch them off; fixed view weights are possible.");
        if (model.Loss is DssmLossKind.InBatch or DssmLossKind.InBatchLogQ)
            throw DeviceErrors.Model("model.loss", "in-batch negatives are items of other devices.", "Use the sampled loss with uniform negatives, or full.");
        if (model.Loss == DssmLossKind.Sampled && model.NegativeSource != NegativeSource.Uniform)
            throw DeviceErrors.Model("model.negativeSource", "only uniform draws depend on no data of other devices.", "Use uniform.");
        CheckPrivacy(job, privacy);
    }

    private static void CheckPrivacy(DeviceJob job, DevicePrivacyOptions privacy)
    {
        if ((privacy.Clip is { } clip && !Positive(clip)) || (privacy.NoiseMultiplier is { } sigma && !Positive(sigma)) || privacy.Colluders < 0
            || privacy.Delta is not (> 0 and < 0.1) || privacy.Threshold < 1 || privacy.MaxParticipations < 1
            || (privacy.Budget is { } budget && (!Positive(budget.Epsilon) || budget.Delta is not (> 0 and < 0.1))))
            throw DeviceErrors.Job("privacy", "a number is out of range.", "See the ranges of DevicePrivacyOptions.");
        if (privacy.ClipPerView && (privacy.Clip is null || job.Model.Fusion != DssmFusion.Late))
            throw DeviceErrors.Job("privacy.clipPerView", "views clip by themselves only with a clip, and where each has a loss of its own.", "Declare a clip and use fusion late.");
        if ((privacy.IsPrivate || privacy.SecureAggregation) && privacy.Threshold is not >= 2)
            throw DeviceErrors.Missing("privacy.threshold", "masks and noise rest on a least number of survivors.", "Declare a threshold of at least 2, or switch both off.");
        if (privacy.Threshold is { } threshold && privacy.Colluders >= threshold)
            throw new Diagnostics.PrivacyRefusedException(DeviceErrors.ThresholdTooLow, "privacy.colluders", "as many colluders as survivors leave no noise to count on.",
                "Declare a threshold above the number of colluders.");
        if (privacy.Server == ServerTrust.Active && !privacy.SecureAggregation)
            throw DeviceErrors.Missing("privacy.server", "against an active server updates must be masked.", "Switch secure aggregation on.");
        if (!privacy.IsPrivate)
            return;
        if (privacy.Clip is null)
            throw DeviceErrors.Missing("privacy.clip", "noise hides a device's update only when its norm is bounded.", "Declare a clip.");
        if (privacy.MaxParticipations is null)
            throw DeviceErrors.Missing("privacy.maxParticipations", "the server sees every participation, so that the claim needs their number.", "Declare a cap, such as 2 q rounds.");
    }

    private static bool Positive(double value) => double.IsFinite(value) && value > 0;

    private static byte[] DigestOf(DeviceJob job)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("name", job.Name);
            json.WriteString("purpose", "device");
            foreach (DeviceView view in job.Views)
                json.WriteString("view " + view.Name, InputsText(view.Inputs));
            json.WriteString("items", ItemDigests.GetValue(job.Items, ItemsDigest));
            json.WriteNumber("devices", job.Devices);
            DssmModelOptions m = job.Model;
            json.WriteString("layers", string.Join('-', m.Layers));
            json.WriteString("model", FormattableString.Invariant(
                $"{m.Fusion} {m.Activation} {m.LayerNorm} {m.Dropout:R} {m.Gamma:R} {m.Loss} {m.Negatives} {m.ViewDropout:R} {m.Precision}"));
            foreach ((string view, double weight) in m.ViewWeights.OrderBy(w => w.Key, StringComparer.Ordinal))
                json.WriteNumber("weight " + view, weight);
            DeviceTrainingOptions t = job.Training;
            json.WriteString("training", FormattableString.Invariant($"{t.Rounds} {t.Participation:R} {t.Algorithm} {t.LocalSteps} {t.LocalRate:R} {t.Aggregate} {t.AttemptsPerRound} {t.Seed}"));
            json.WriteString("optimizer", FormattableString.Invariant($"{t.ServerOptimizer.Kind} {t.ServerOptimizer.Rate:R} {t.ServerOptimizer.WeightDecay:R}"));
            DevicePrivacyOptions p = job.Privacy;
            json.WriteString("noise", FormattableString.Invariant($"{p.NoiseMultiplier:R} {p.Budget?.Epsilon:R} {p.Budget?.Delta:R} {p.BudgetAgainst} {p.Delta:R} {p.Adjacency}"));
            json.WriteString("privacy", FormattableString.Invariant(
                $"{p.Clip:R} {p.ClipPerView} {p.MaxParticipations} {p.Threshold} {p.Colluders} {p.SecureAggregation} {p.Server}"));
            json.WriteEndObject();
        }

        return SHA256.HashData(buffer.ToArray());
    }

    private static string InputsText(TowerInputs inputs) => FormattableString.Invariant($"{inputs.DenseWidth} ")
        + string.Join(' ', inputs.Bags.Select(b => FormattableString.Invariant($"{b.Buckets} {b.Pooling} {b.Name}")));

    // A server makes the terms of every device, and a large catalogue takes tens of milliseconds.
    private static readonly System.Runtime.CompilerServices.ConditionalWeakTable<ItemTable, string> ItemDigests = new();

    private static string ItemsDigest(ItemTable items)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(System.Text.Encoding.UTF8.GetBytes(InputsText(items.Content.Inputs)));
        foreach (string id in items.Ids)
            hash.AppendData(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(id)));
        hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes<double>(items.Content.Dense));
        foreach (BagRows bag in items.Content.Bags)
        {
            hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes<int>(bag.Offsets));
            hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes<int>(bag.Ids));
            hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes<double>(bag.Weights));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
