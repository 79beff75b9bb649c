using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>Names of messages that tell of columns or weights one by one. All others are scores, residuals, or numbers that the schedule needs.</summary>
internal static class GlmReleases
{
    /// <summary>A passive party's columns, mixed so that none is there by itself.</summary>
    public const string MixedColumns = "mixed columns: mode none";

    /// <summary>The weights of these, for the party whose they are.</summary>
    public const string MixedWeights = "weights of the party's own mixed columns: mode none";

    /// <summary>The covariance of these weights.</summary>
    public const string MixedCovariance = "covariance of the party's own mixed columns: mode none";

    /// <summary>What was sent over some channels.</summary>
    public static IReadOnlyList<GlmSentMessages> Sent(IEnumerable<IPartyChannel> channels) =>
    [
        .. channels.SelectMany(channel => channel.Releases.Select(r => new GlmSentMessages(channel.RemoteParty, r.Key.Name, r.Key.Protection, r.Value, channel.BytesOf(r.Key.Name, r.Key.Protection))
        {
            TellsOfColumnsOrWeights = r.Key.Name is MixedColumns or MixedWeights or MixedCovariance,
        })),
    ];
}
