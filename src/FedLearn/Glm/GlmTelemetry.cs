using System.Diagnostics;
using System.Text.Json;
using FedLearn.Diagnostics;

namespace FedLearn.Glm;

/// <summary>GLM sessions in logs, metrics and traces.</summary>
internal static class GlmTelemetry
{
    /// <summary>A session of a party, under the names that its job gives.</summary>
    public static SessionTelemetry Of(string operation, GlmJob job, GlmPartyInput input) =>
        new(operation, input.Party, job.Name, JsonNamingPolicy.KebabCaseLower.ConvertName(job.Privacy.Mode.ToString()), input.LoggerFactory);

    /// <summary>Aligns, and tells how many rows are common.</summary>
    public static async Task<int[]> AlignAsync(SessionTelemetry telemetry, Func<Task<int[]>> align)
    {
        using Activity? traced = telemetry.Begin("fedlearn.alignment");
        int[] common = await align().ConfigureAwait(false);
        telemetry.Aligned(common.Length);
        return common;
    }
}
