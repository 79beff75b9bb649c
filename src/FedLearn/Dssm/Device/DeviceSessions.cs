using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Aggregation;
using FedLearn.Coordination;

namespace FedLearn.Dssm;

/// <summary>An enrolled device.</summary>
/// <param name="Device">Its name.</param>
/// <param name="Client">Its number in secure aggregation, at least 0; unique.</param>
/// <param name="PublicKey">Its enrolment key (Ed25519, 32 bytes), which other devices must know from elsewhere than the server.</param>
public sealed record DeviceEnrolment(string Device, int Client, ReadOnlyMemory<byte> PublicKey);

/// <summary>How a device and the server join a session: two parties, the server being the active one, as hosts of pairs have it.</summary>
public static class DeviceSessions
{
    /// <summary>Name of the server as a party.</summary>
    public const string Server = "server";

    /// <summary>What the session of one device is about.</summary>
    /// <param name="job">The job.</param>
    /// <param name="device">Name of the device.</param>
    /// <exception cref="FedLearn.Diagnostics.FedLearnException">The job is inconsistent (FL2470, FL2471) or a private one lacks a bound (FL5170, FL5172).</exception>
    public static SessionTerms Terms(DeviceJob job, string device)
    {
        byte[] digest = new DevicePlan(job).Digest;
        return new(job.Name, digest, Sections(digest), [new(Server, PartyRole.Active), new(device, PartyRole.Passive)]);
    }

    /// <summary>With what the server joins.</summary>
    /// <param name="job">The job.</param>
    public static JoinRequest ServerRequest(DeviceJob job) => Request(job, new(Server, PartyRole.Active));

    /// <summary>With what a device joins.</summary>
    /// <param name="job">The job, in the device's own copy.</param>
    /// <param name="device">Name of the device.</param>
    public static JoinRequest DeviceRequest(DeviceJob job, string device) => Request(job, new(device, PartyRole.Passive));

    private static JoinRequest Request(DeviceJob job, PartyDescription party)
    {
        byte[] digest = new DevicePlan(job).Digest;
        return new(SessionDesk.ProtocolVersion, party, job.Name, digest, Sections(digest), SHA256.HashData(digest));
    }

    private static Dictionary<string, ReadOnlyMemory<byte>> Sections(byte[] digest) => new() { ["device"] = digest };

    /// <summary>SHA-256 of a model as it leaves: its numbers one after the other, little-endian.</summary>
    internal static byte[] DigestOf(ReadOnlySpan<double> model) => SHA256.HashData(MemoryMarshal.AsBytes(model));

    /// <summary>Terms of secure aggregation for one attempt, the same at every client and the server.</summary>
    internal static AggregationRound Round(DevicePlan plan, DeviceWork work, DeviceInvitation begin, ReadOnlyMemory<byte> modelDigest, IReadOnlyList<DeviceEnrolment> enrolled)
    {
        List<AggregationTensor> tensors = [.. work.FederatedBlocks.Select(block => new AggregationTensor(block.Name, block.Length))];
        if (!plan.IsPrivate)
            tensors.Add(new("samples", 1));
        return new()
        {
            JobDigest = plan.Digest,
            Round = begin.Round,
            Attempt = begin.Attempt,
            ModelVersion = begin.Version,
            ModelDigest = modelDigest,
            Tensors = tensors,
            Step = work.Calibration?.Step ?? DevicePlan.FixedPoint,
            Clients = begin.Clients,
            Threshold = plan.ThresholdOf(begin.Clients),
            Colluders = plan.Job.Privacy.Colluders,
            Server = plan.Job.Privacy.Server,
            EnrolmentKeys = plan.Job.Privacy.Server == ServerTrust.Active ? enrolled.ToDictionary(e => e.Client, e => e.PublicKey) : System.Collections.ObjectModel.ReadOnlyDictionary<int, ReadOnlyMemory<byte>>.Empty,
        };
    }
}
