using System.Diagnostics;
using System.Text.Json;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>GLM sessions in logs, metrics and traces.</summary>
internal static class GlmTelemetry
{
    /// <summary>A session of a party, under the names that its job gives.</summary>
    public static SessionTelemetry Of(string operation, GlmJob job, GlmPartyInput input) =>
        new(operation, input.Party, job.Name, JsonNamingPolicy.KebabCaseLower.ConvertName(job.Privacy.Mode.ToString()), input.LoggerFactory);

    /// <summary>Aligns, and tells how many rows are common.</summary>
    /// <exception cref="BadInputException">FL3102: none are.</exception>
    public static async Task<AlignedRows> AlignAsync(SessionTelemetry telemetry, GlmJob job, PartyDescription party, GlmPartyInput input, SessionAgreement agreement,
        IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken)
    {
        using Activity? traced = telemetry.Begin("fedlearn.alignment");
        var task = new AlignmentTask
        {
            Role = party.Role,
            Ids = input.Table.Ids,
            Seed = job.Training.Seed,
            JobDigest = agreement.JobDigest,
            Parties = job.Parties.Count,
            Progress = input.AlignmentProgress,
        };
        // A party alone only orders its rows.
        IEntityAlignment alignment = channels.Count == 0 ? HashedAlignment.Instance : AlignmentChoice.Of(job.Alignment, input.Alignment, input.Party);
        AlignedRows aligned = await AlignmentChoice.AlignAsync(alignment, input.Party, task, channels, cancellationToken).ConfigureAwait(false);
        telemetry.Aligned(aligned.Rows.Length);
        if (aligned.Warnings.Contains(HashedAlignment.Warning))
            telemetry.ComparedByHash(HashedAlignment.Warning);
        return aligned.Rows.Length > 0 ? aligned : throw NoCommonRows();
    }

    /// <summary>The error of parties that have none of their people in common.</summary>
    public static BadInputException NoCommonRows() => new(GlmErrors.NoCommonRows, "alignment", "the parties have no common rows.",
        "Check that the id columns hold the same kind of id, written the same way, and that the parties' tables overlap.");
}
