using System.Globalization;
using FedLearn.Aggregation;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>The noise of a device job, and what it promises in words.</summary>
internal static class DeviceClaims
{
    /// <summary>The noise of a private job; null in mode none.</summary>
    public static DeviceCalibration? Calibrate(DeviceJob job, int coordinates)
    {
        DevicePrivacyOptions privacy = job.Privacy;
        if (!privacy.IsPrivate)
            return null;
        var parameters = new DeviceParameters
        {
            Clip = privacy.Clip!.Value,
            Coordinates = coordinates,
            Rounds = job.Training.Rounds,
            Threshold = privacy.Threshold!.Value,
            Colluders = privacy.Colluders,
            MostClients = Math.Max(Math.Max(job.Devices, DeviceJob.MaskedClients), privacy.Threshold.Value),
            Participations = privacy.MaxParticipations,
            SamplingRate = job.Training.Participation,
            Adjacency = privacy.Adjacency,
            Masked = privacy.SecureAggregation,
        };
        return privacy.NoiseMultiplier is { } sigma ? DeviceCalibration.Of(parameters, sigma)
            : privacy.BudgetAgainst == DeviceObserver.Server ? DeviceCalibration.ForServer(parameters, privacy.Budget!.Epsilon, privacy.Budget.Delta)
            : DeviceCalibration.ForLaterObservers(parameters, privacy.Budget!.Epsilon, privacy.Budget.Delta);
    }

    /// <summary>Both figures, and what the server would learn without masks.</summary>
    public static DevicePrivacyStatement Statement(DeviceJob job, DeviceCalibration? calibration)
    {
        DevicePrivacyOptions privacy = job.Privacy;
        if (calibration is null)
            return new(false, 0, privacy.Clip, 0, 0, 0, [],
                [privacy.SecureAggregation
                    ? $"updates are not noised: the {Trust(privacy)} sees sums over at least {privacy.Threshold} devices, and everybody sees every version of the model"
                    : "updates are neither noised nor masked: the server sees every one"],
                privacy.SecureAggregation ? [Poisoning] : []);

        double delta = privacy.Budget?.Delta ?? privacy.Delta, sigma = calibration.NoiseMultiplier;
        DeviceParameters parameters = calibration.Parameters;
        DeviceFigures figures = calibration.Figures(delta), unmasked = (DeviceCalibration.Of(parameters with { Masked = false }, sigma)).Figures(delta);
        string adjacency = privacy.Adjacency == Adjacency.ZeroOut ? "zero-out" : "replace-one";
        string masks = privacy.SecureAggregation ? $"{Trust(privacy)}, at most {privacy.Colluders} colluders a round" : "masks off, so that it sees single updates";
        var server = new DevicePrivacyFigure(DeviceObserver.Server, figures.ServerMu, figures.ServerEpsilon, delta, adjacency, string.Create(CultureInfo.InvariantCulture,
            $"unit device, {adjacency}: ({figures.ServerEpsilon:0.0000}, {delta:0.0e+0}) against the server, other views of the device and devices that see the roster, "
            + $"over at most {privacy.MaxParticipations} participations, no amplification by sampling; {masks}"));
        double laterEpsilon = figures.LaterEpsilon ?? throw new InvalidOperationException("Devices throw coins.");
        var later = new DevicePrivacyFigure(DeviceObserver.Later, null, laterEpsilon, delta, "add/remove", string.Create(CultureInfo.InvariantCulture,
            $"unit device, add/remove: ({laterEpsilon:0.0000}, {delta:0.0e+0}) against later observers of model versions who know no roster, "
            + $"over {job.Training.Rounds} {Counted.Noun(job.Training.Rounds, "round")}; only if every enrolled device throws its own secret coin (q = {job.Training.Participation:0.####})"));
        List<string> warnings =
        [
            Poisoning,
            FormattableString.Invariant($"with masks off the server would learn of a single update in each attempt: mu {unmasked.UnmaskedMuPerRound:0.0000}"),
            "the figure for later observers takes the noise of a round as the same with and without a device: it is conditional on the number of a round's participants telling nothing",
            "not hidden: which devices are enrolled, which of them take part in an attempt (from the server), and timing",
        ];
        if (privacy.ClipPerView)
            warnings.Add("each view of a device clips to C/V by itself, and no code on the device needs to see all views");
        warnings.AddRange(LargeEpsilon.Warnings(figures.ServerEpsilon, figures.ServerMu));
        if (privacy.TestNoiseSeed is not null)
            warnings.Insert(0, "NOT PRIVATE: test noise");
        return new(true, sigma, privacy.Clip, parameters.NoisyClients, privacy.MaxParticipations!.Value, unmasked.UnmaskedMuPerRound!.Value, [server, later],
            [server.Claim, later.Claim], warnings);
    }

    private const string Poisoning = "poisoning cannot be checked under masks: a device that does not clip its update can move the model, and its norm is not seen";

    private static string Trust(DevicePrivacyOptions privacy) => privacy.Server == ServerTrust.Active ? "active server" : "server, honest but curious,";
}
