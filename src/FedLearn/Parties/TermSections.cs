using System.Text.Json;
using FedLearn.Coordination;

namespace FedLearn.Parties;

/// <summary>Sections that the terms of every kind of job have, see <see cref="SessionTerms"/>.</summary>
internal static class TermSections
{
    /// <summary>Which job, and what the session does.</summary>
    public static (string Name, Action<Utf8JsonWriter> Write) Name(string job, string purpose)
    {
        return ("name", Write);

        void Write(Utf8JsonWriter json)
        {
            json.WriteString("name", job);
            json.WriteString("purpose", purpose);
        }
    }

    /// <summary>How the common rows are found.</summary>
    public static (string Name, Action<Utf8JsonWriter> Write) Alignment(AlignmentMethod method, bool proof)
    {
        return ("alignment", Write);

        void Write(Utf8JsonWriter json)
        {
            json.WriteString("method", method.ToString());
            if (method == AlignmentMethod.Psi)
                json.WriteBoolean("proof", proof);
        }
    }

    /// <summary>Who is there.</summary>
    public static (string Name, Action<Utf8JsonWriter> Write) Parties(IEnumerable<PartyDescription> parties)
    {
        return ("parties", Write);

        void Write(Utf8JsonWriter json)
        {
            foreach (PartyDescription party in parties)
                json.WriteString(party.Name, party.Role.ToString());
        }
    }
}
