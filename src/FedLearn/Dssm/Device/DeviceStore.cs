using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>Where a device keeps what it must know after a restart: one piece of bytes, replaced as a whole. As secret as its data: it may hold the shares with which the device helps to open one sum.</summary>
public interface IDeviceStore
{
    /// <summary>What was written last; null: nothing was.</summary>
    /// <exception cref="FedLearnException">It cannot be read, or is damaged.</exception>
    byte[]? Read();

    /// <summary>Replaces it durably: a crash leaves these bytes or those before them, and once this returns those before them cannot be read back.</summary>
    /// <param name="state">The bytes.</param>
    /// <exception cref="FedLearnException">It cannot be written.</exception>
    void Write(ReadOnlySpan<byte> state);
}

/// <summary>What a device keeps of a job: attempts it has seen, what they cost, and of the one in which it has uploaded what it needs to send the same bytes again and to answer the one request.</summary>
internal sealed class DeviceMemory
{
    private const string Kind = "device 1";

    private readonly IDeviceStore? _store;
    private readonly DevicePlan _plan;
    private readonly string _device;

    public DeviceMemory(DevicePlan plan, string device, IDeviceStore? store)
    {
        (_plan, _device, _store) = (plan, device, store);
        if (store?.Read() is not { } bytes)
            return;
        var state = new StateReader(Kind, bytes, $"device '{device}'");
        if (state.Text("device") != device || !state.Bytes("job").Span.SequenceEqual(plan.Digest))
            throw new ConfigurationException(DeviceErrors.OtherState, $"device '{device}'", "its store holds the state of another device or job.",
                "Give each device of each job a store of its own; what another job has spent stays in the ledger.");
        RunId = state.Text("run");
        LastAttempt = state.Integer32("lastAttempt");
        Participations = state.Integer32("participations");
        Own = state.Doubles("own");
        Upload = state.Has("upload") ? DeviceUpload.Load(state) : null;
    }

    /// <summary>Whether the device can come back after a restart.</summary>
    public bool IsKept => _store is not null;

    /// <summary>Id of the run in the device's ledger; null before there is one.</summary>
    public string? RunId { get; set; }

    /// <summary>The last attempt it was asked for; -1: none.</summary>
    public int LastAttempt { get; set; } = -1;

    /// <summary>Attempts in which it took part.</summary>
    public int Participations { get; set; }

    /// <summary>User models that stay here; empty before there are any.</summary>
    public double[] Own { get; set; } = [];

    /// <summary>The attempt in which it has uploaded; null: none that is not over.</summary>
    public DeviceUpload? Upload { get; set; }

    /// <summary>Keeps all that durably.</summary>
    public void Keep()
    {
        if (_store is null)
            return;
        StateWriter state = new StateWriter(Kind).Add("device", _device).Add("job", _plan.Digest).Add("run", RunId ?? "").Add("lastAttempt", (long)LastAttempt).Add("participations", (long)Participations).Add("own", Own);
        Upload?.Save(state);
        byte[] bytes = state.ToArray();
        _store.Write(bytes);
        System.Security.Cryptography.CryptographicOperations.ZeroMemory(bytes);
    }
}

/// <summary>An upload that may have left, with what is needed to answer for it.</summary>
/// <param name="Begin">The invitation with which the attempt began.</param>
/// <param name="Model">Digest of the model that it was made from.</param>
/// <param name="Client">Number of the device in the attempt.</param>
/// <param name="Masked">The masked vector, which is sent again as it is.</param>
/// <param name="Noised">Whether it is one with noise.</param>
internal sealed record DeviceUpload(DeviceInvitation Begin, ReadOnlyMemory<byte> Model, int Client, ReadOnlyMemory<byte> Masked, bool Noised) : IMaskedOutbox
{
    /// <summary>State of the secure aggregation after the upload, or after the consent; empty once the answer is made.</summary>
    public ReadOnlyMemory<byte> Aggregation { get; set; }

    /// <summary>The request that was answered; empty: none yet.</summary>
    public ReadOnlyMemory<byte> Request { get; set; }

    /// <summary>The answer to it, which is sent again as it is.</summary>
    public ReadOnlyMemory<byte> Answer { get; set; }

    /// <summary>The upload again, on the job's lattice.</summary>
    public Released<MaskedVector> Again(double step) => AdditiveMask.Again(this, 0, step, Noised ? Protection.Noise : Protection.None, "masked update");

    public byte[]? Find(int index) => index == 0 ? Masked.ToArray() : null;

    public void Keep(int index, ReadOnlySpan<byte> message) => throw new NotSupportedException("An upload is kept with its attempt.");

    public void Save(StateWriter state) => state.Add("upload", Begin.Message().Payload.Bytes.Span).Add("model", Model.Span).Add("client", (long)Client).Add("masked", Masked.Span).Add("noised", Noised ? 1 : 0)
        .Add("aggregation", Aggregation.Span).Add("request", Request.Span).Add("answer", Answer.Span);

    public static DeviceUpload Load(StateReader state) =>
        new(DeviceInvitation.Read(new AggregationMessage(AggregationStep.Invitation, state.Bytes("upload")), "store", 0) ?? throw state.Damaged(),
            state.Has("model") ? state.Bytes("model") : default, state.Integer32("client"),
            state.Bytes("masked"), state.Integer("noised") != 0)
        {
            Aggregation = state.Bytes("aggregation"),
            Request = state.Bytes("request"),
            Answer = state.Bytes("answer"),
        };
}
