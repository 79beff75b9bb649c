using System.Security.Cryptography;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Evaluation;
using FedLearn.Parties;
using FedLearn.Privacy;
using Microsoft.Extensions.Logging;

namespace FedLearn.Dssm;

/// <summary>What a party brings to a recommendation job.</summary>
public sealed record DssmPartyInput
{
    /// <summary>Name the job gives this party.</summary>
    public required string Party { get; init; }

    /// <summary>Its view. A passive party has one; the active party may.</summary>
    public ViewTable? View { get; init; }

    /// <summary>The items; active party only.</summary>
    public ItemTable? Items { get; init; }

    /// <summary>The events; active party only.</summary>
    public InteractionTable? Interactions { get; init; }

    /// <summary>SHA-256 of the party's schemas, 32 bytes; empty: of the shape of its tables.</summary>
    public ReadOnlyMemory<byte> SchemaFingerprint { get; init; }

    /// <summary>The party's part of a trained model, for sessions that evaluate or recommend.</summary>
    public DssmModel? Model { get; init; }

    /// <summary>Makes the tower of its view; null: the job's factory.</summary>
    public ITowerFactory? ViewTower { get; init; }

    /// <summary>Makes the tower of the items; null: the job's factory.</summary>
    public ITowerFactory? ItemTower { get; init; }

    /// <summary>How intervals of figures are found; the active party's own affair. Its seed is the job's.</summary>
    /// <value>Default: no intervals.</value>
    public EvaluationOptions Evaluation { get; init; } = new() { Resamples = 0 };

    /// <summary>Finds the users that the active party and a view share, by the job's method. Null: by hashed ids, where the job says so.</summary>
    public IEntityAlignment? Alignment { get; init; }

    /// <summary>Told how far the alignment is; null for nobody.</summary>
    public IProgress<AlignmentProgress>? AlignmentProgress { get; init; }

    /// <summary>Where charges are recorded and a lifetime budget is enforced. Null: a ledger in memory, which forgets.</summary>
    public IPrivacyLedger? Ledger { get; init; }

    /// <summary>Id of the run for the ledger, 32 hex digits. Null: a fresh one.</summary>
    public string? RunId { get; init; }

    /// <summary>Where the party keeps its state between rounds, every <see cref="DssmTrainingOptions.CheckpointRounds"/> rounds, so that it can go on after a crash or a loss; its
    /// <see cref="RunId"/> is then that of the run which goes on. In a private job the ledger must keep messages and values too, as one in a file does. Null: nowhere.</summary>
    public IRunStore? Runs { get; init; }

    /// <summary>Forgets a run of the same job that was cut off, when the trainer is made, and begins anew.</summary>
    /// <value>Default false: the party offers its peers to go on.</value>
    public bool Fresh { get; init; }

    /// <summary>Called with the finished model before this party tells the others that it is done: once a party has ended, every party has its model safe. Null: nothing is called.</summary>
    public Action<DssmModel>? SaveModel { get; init; }

    /// <summary>Where the party logs what it does, category <c>FedLearn.Session</c>. No private value enters the log. Null: nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}

/// <summary>The shape of a party's tables, where it brings no schema.</summary>
internal static class InputShape
{
    public static byte[] Fingerprint(DssmPartyInput input) => SHA256.HashData(Encoding.UTF8.GetBytes(
        string.Join('\n', new[] { input.View?.Rows.Inputs, input.Items?.Content.Inputs }.Select(Describe)) + (input.View?.Moments is null ? " static" : " moments")));

    private static string Describe(TowerInputs? inputs) => inputs is null ? "none"
        : $"{inputs.DenseWidth} {string.Join(' ', inputs.Bags.Select(bag => $"{bag.Name}:{bag.Buckets}:{bag.Pooling}"))}";
}

/// <summary>SHA-256 of what a party trains on, and of towers that are no shipped ones: a run goes on with the same only.</summary>
internal static class DssmInputDigest
{
    public static byte[] Of(DssmPartyInput input, ITowerFactory towers)
    {
        using var digest = new InputDigest();
        if (input.View is { } view)
        {
            digest.Texts(view.Users).Numbers<int>(view.RowUser);
            Moments(digest, view.Moments ?? []);
            Rows(digest, view.Rows);
        }

        if (input.Items is { } items)
        {
            digest.Texts(items.Ids);
            Rows(digest, items.Content);
        }

        if (input.Interactions is { } table)
        {
            digest.Texts(table.Users).Numbers<int>([.. table.Events.SelectMany(e => new[] { e.User, e.Item, (int)e.Role })]);
            Moments(digest, [.. table.Events.Select(e => e.Moment)]);
        }

        // Shipped towers follow from the terms; of those the job's factory makes the threads are compared by themselves.
        foreach ((string what, ITowerFactory? own) in new[] { ("view", input.ViewTower), ("items", input.ItemTower) })
            if ((own ?? towers).Fingerprint is { IsEmpty: false } fingerprint)
                digest.Text(what).Numbers(fingerprint.Span).Numbers<int>([own?.Threads ?? 0]);
        return digest.Finish();
    }

    private static void Rows(InputDigest digest, TowerRows rows)
    {
        digest.Numbers<double>(rows.Dense);
        foreach (BagRows bag in rows.Bags)
            digest.Numbers<int>(bag.Offsets).Numbers<int>(bag.Ids).Numbers<double>(bag.Weights ?? []);
    }

    private static void Moments(InputDigest digest, IReadOnlyList<Moment> moments) => digest.Numbers<long>([.. moments.SelectMany(m => new[] { m.Time, (long)m.Sequence })]);
}
